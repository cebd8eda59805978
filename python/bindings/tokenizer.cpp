// Tokenizer and StreamDecoder.
#include "csrc/io/tokenizer.h"

#include "csrc/gemma/model.h"
#include "python/bindings/bindings.h"

namespace gemloupe::bindings {

void bind_tokenizer(py::module_& m) {
  py::class_<Tokenizer, std::shared_ptr<Tokenizer>>(m, "Tokenizer", "Text to token ids and back.")
      .def(
          "encode",
          [](const Tokenizer& t, const py::bytes& text, bool special, bool bos) {
            const std::string_view view = text;
            const py::gil_scoped_release release;
            return t.encode(view, special, bos);
          },
          py::arg("text"), py::arg("special"), py::arg("bos"))
      .def(
          "decode",
          [](const Tokenizer& t, const Ids& ids, bool special) {
            const std::vector<int32_t> list = to_ids(ids);
            return to_str(t.decode(list, special));
          },
          py::arg("ids"), py::arg("special"))
      .def("piece", [](const Tokenizer& t, int32_t id) { return to_str(t.piece(id)); }, py::arg("id"))
      .def("token_bytes", [](const Tokenizer& t, int32_t id) { return py::bytes(std::string(t.bytes(id))); }, py::arg("id"))
      .def("id_of", [](const Tokenizer& t, const std::string& piece) { return t.id_of(piece); }, py::arg("piece"))
      .def("is_control", &Tokenizer::is_control, py::arg("id"))
      .def_property_readonly("size", &Tokenizer::size)
      .def_property_readonly("bos", &Tokenizer::bos)
      .def_property_readonly("eos", &Tokenizer::eos)
      .def_property_readonly("unk", [](const Tokenizer& t) { return t.vocabulary().unk; })
      .def_property_readonly("pad", [](const Tokenizer& t) { return t.vocabulary().pad; })
      .def_property_readonly("add_bos", [](const Tokenizer& t) { return t.vocabulary().add_bos; })
      .def_property_readonly("ends", &Tokenizer::end_of_generation)
      .def_property_readonly("name", [](const Tokenizer& t) { return to_str(t.name()); });

  m.def(
      "tokenizer_from_json",
      [](const py::bytes& json, const py::bytes& config) {
        const std::string_view text = json, words = config;
        const py::gil_scoped_release release;
        return std::const_pointer_cast<Tokenizer>(Tokenizer::from_json(text, words));
      },
      py::arg("tokenizer_json"), py::arg("tokenizer_config_json"));
  m.def(
      "tokenizer_from_checkpoint",
      [](const std::shared_ptr<Checkpoint>& checkpoint) { return std::const_pointer_cast<Tokenizer>(tokenizer_from(*checkpoint)); },
      py::arg("checkpoint"), Release());

  py::class_<StreamDecoder>(m, "StreamDecoder", "Decodes ids as they come.")
      .def(py::init([](const std::shared_ptr<Tokenizer>& t, bool special) { return StreamDecoder(t, special); }), py::arg("tokenizer"),
           py::arg("special"))
      .def("push", [](StreamDecoder& d, int32_t id) { return to_str(d.push(id)); }, py::arg("id"))
      .def("finish", [](StreamDecoder& d) { return to_str(d.finish()); });
}

}  // namespace gemloupe::bindings
