// Config and its layers.
#include "csrc/gemma/config.h"

#include "python/bindings/bindings.h"

namespace gemloupe::bindings {

void bind_config(py::module_& m) {
  py::class_<RopeConfig>(m, "RopeConfig", "How a layer rotates positions.")
      .def_readonly("kind", &RopeConfig::kind)
      .def_readonly("theta", &RopeConfig::theta)
      .def_readonly("factor", &RopeConfig::factor)
      .def_readonly("rotated", &RopeConfig::rotated);

  py::class_<LayerConfig>(m, "LayerConfig", "One layer; nothing is implied by its index.")
      .def_readonly("full", &LayerConfig::full)
      .def_readonly("window", &LayerConfig::window)
      .def_readonly("heads", &LayerConfig::heads)
      .def_readonly("kv_heads", &LayerConfig::kv_heads)
      .def_readonly("head_dim", &LayerConfig::head_dim)
      .def_readonly("cache_source", &LayerConfig::cache_source)
      .def_readonly("keys_are_values", &LayerConfig::keys_are_values)
      .def_readonly("ffn_width", &LayerConfig::ffn_width)
      .def_readonly("rope", &LayerConfig::rope);

  py::class_<Config>(m, "Config", "What a Gemma is made of, whatever file it came from.")
      .def_readonly("architecture", &Config::architecture)
      .def_property_readonly("name", [](const Config& c) { return to_str(c.name); })
      .def_readonly("vocabulary", &Config::vocabulary)
      .def_readonly("hidden", &Config::hidden)
      .def_readonly("context", &Config::context)
      .def_readonly("eps", &Config::eps)
      .def_readonly("attention_scale", &Config::attention_scale)
      .def_readonly("softcap", &Config::softcap)
      .def_readonly("tied", &Config::tied)
      .def_readonly("value_norm", &Config::value_norm)
      .def_readonly("layer_scale", &Config::layer_scale)
      .def_readonly("ple_width", &Config::ple_width)
      .def_readonly("ple_vocabulary", &Config::ple_vocabulary)
      .def_readonly("experts", &Config::experts)
      .def_readonly("experts_used", &Config::experts_used)
      .def_readonly("expert_width", &Config::expert_width)
      .def_readonly("layers", &Config::layers)
      .def_readonly("end_ids", &Config::end_ids)
      .def_readonly("suppress", &Config::suppress)
      .def_readonly("bos", &Config::bos)
      .def_readonly("eos", &Config::eos)
      .def_readonly("pad", &Config::pad)
      .def("to_json", [](const Config& c) { return to_str(config_to_json(c)); }, "config.json as Transformers writes it.")
      .def("__repr__", [](const Config& c) {
        return to_str("<Config " + c.architecture + ", " + std::to_string(c.layers.size()) + " layers, hidden " + std::to_string(c.hidden) +
                      ", vocabulary " + std::to_string(c.vocabulary) + ">");
      });

  m.def("released_config", &released_config, py::arg("size"));
  m.def("released_sizes", &released_sizes);
  m.def("config_from_json", [](const std::string& json, const std::string& where) { return config_from_json(json, "", where); },
        py::arg("json"), py::arg("where"));
}

}  // namespace gemloupe::bindings
