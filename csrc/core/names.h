// Names of values, nodes and weights: words joined by dots ("layers.3.attn.k_rope"), and patterns over them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gemloupe {

// A pattern as in a shell: * is any run of characters (dots too), ? is one, [abc] or [0-9] one of a set; {a,b} one of two words.
// "layers.*.attn.mix" matches layers.0.attn.mix and layers.17.attn.mix. Linear in the name for each star.
bool matches(std::string_view pattern, std::string_view name);

// Up to three of `known` that a mistyped name may have meant, as ", did you mean a, b?" or "".
std::string did_you_mean(std::string_view name, const std::vector<std::string>& known);

}  // namespace gemloupe
