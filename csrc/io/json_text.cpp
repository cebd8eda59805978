#include "csrc/io/json_text.h"

#include <new>
#include <set>
#include <vector>

#include "csrc/core/error.h"
#include "csrc/io/printable.h"

namespace gemloupe {

nlohmann::json parse_json(std::string_view text, const std::string& path, uint64_t first_byte) {
  using nlohmann::json;
  constexpr size_t kDeepest = 100;
  std::vector<std::set<std::string>> keys;  // of the objects and arrays that are open
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        demand(keys.size() < kDeepest, path, ": JSON nested more than ", kDeepest, " deep: a damaged file");
        keys.emplace_back();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end: keys.pop_back(); break;
      case json::parse_event_t::key: {
        const std::string& key = parsed.get_ref<const std::string&>();
        if (!keys.back().insert(key).second) {
          throw Error(path + ": the key " + printable(key) + " is there twice in one object");
        }
        break;
      }
      default: break;
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::parse_error& error) {
    throw Error(gemloupe::text(path, ": not valid JSON at byte ", first_byte + error.byte, ": ", printable(error.what())));
  } catch (const json::exception& error) {
    throw Error(gemloupe::text(path, ": JSON that cannot be read: ", printable(error.what())));
  } catch (const std::bad_alloc&) {
    throw Error(path + ": not enough memory for the file's JSON");
  }
}

}  // namespace gemloupe
