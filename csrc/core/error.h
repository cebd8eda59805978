// Two kinds of error. std::invalid_argument: the caller can mend it (Python: ValueError). Error: the file, the model or the
// machine is not what we need (Python: gemloupe.Error). A message says where, what was expected, what came, and the mend.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace gemloupe {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Thrown when the caller asked a long call to stop (Ctrl-C). Sessions have read what complete steps brought.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// check(width == cols, where, ": takes ", cols, " columns, got ", width): throws what the caller can mend.
template <class... Parts>
void check(bool holds, const Parts&... parts) {
  if (!holds) throw std::invalid_argument(text(parts...));
}

// demand(...): the same for what the caller cannot mend in the call: a file, a model, a machine.
template <class... Parts>
void demand(bool holds, const Parts&... parts) {
  if (!holds) throw Error(text(parts...));
}

}  // namespace gemloupe
