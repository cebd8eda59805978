// What both writers do with a tensor's bytes, wherever they come from.
#pragma once

#include <cstdint>

#include "csrc/core/error.h"
#include "csrc/io/checkpoint.h"
#include "csrc/io/output_file.h"
#include "csrc/io/printable.h"

namespace gemloupe {

inline void check_bytes(const TensorToWrite& tensor, uint64_t expected) {
  check(tensor.bytes == expected, "tensor ", printable(tensor.name), ": ", tensor.type, " of its shape has ", expected,
        " bytes, but it gives ", tensor.bytes);
  check(tensor.bytes == 0 || tensor.data != nullptr || tensor.produce, "tensor ", printable(tensor.name),
        ": has neither data nor a function that produces it");
}

// Gives exactly tensor.bytes bytes to write(piece), or throws.
template <class WritePiece>
void write_bytes(const TensorToWrite& tensor, WritePiece&& write_piece) {
  if (!tensor.produce) return write_piece(std::span<const uint8_t>(tensor.data, size_t(tensor.bytes)));
  uint64_t written = 0;
  tensor.produce([&](std::span<const uint8_t> piece) {
    check(piece.size() <= tensor.bytes - written, "tensor ", printable(tensor.name), ": more than its ", tensor.bytes,
          " bytes were produced");
    write_piece(piece);
    written += piece.size();
  });
  check(written == tensor.bytes, "tensor ", printable(tensor.name), ": ", written, " of its ", tensor.bytes,
        " bytes were produced");
}
inline void write_bytes(OutputFile& file, const TensorToWrite& tensor) {
  write_bytes(tensor, [&](std::span<const uint8_t> piece) { file.write(piece); });
}

}  // namespace gemloupe
