// Packed weights seen as integers: the one view that every quantized format offers to the matmuls.
//
// A row of a weight is blocks in memory. Decoded, element i of the row is
//     w[i] = scale[i / group] * (code[i] - offset)  +  (has_min ? min[i / group] : 0)
// with code[i] in 0..255, a constant offset, and |code - offset| <= 128. scale and min are float32, exactly the products that the
// format's own definition forms (for Q4_K: scale = d * sc, min = -(dmin * mn)), so one multiplication and one addition, each
// rounded, give the format's own value. Scales may be infinite or NaN.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/common/kernel.h"

namespace gemloupe {

// Decodes `cols` elements that begin at `blocks`, the beginning of a block: whole blocks, or up to the end of the row. There the
// last block of a grid, and with it the last group, may be short (in memory it is padded; ggml types always have whole blocks).
// scale and min have ceil(cols / group) entries; min may be null where has_min is false. Buffers are unaligned; exactly the stated
// entries are written, and nothing past the blocks is read, whatever the bytes are. context is what came with the kernel: null
// for ggml types, the GridRow for grids.
using DecodeCodes = void(const void* context, const uint8_t* blocks, int64_t cols, uint8_t* code, float* scale, float* min);

struct CodesLayout {
  int block = 0;        // elements a block; ceil(cols / block) blocks make a row
  int block_bytes = 0;  // bytes a block
  int group = 0;        // elements that share a scale: a multiple of 16, at most 256, that divides block
  int offset = 0;       // 0..128
  bool has_min = false;
};

// A quantized type of GGML, by its number and by its name in GGUF files.
struct PackedType {
  const char* name;
  int ggml_id;
  CodesLayout layout;
  const Kernel<DecodeCodes>* decode;
};

// Null where there is none: float types, retired numbers, anything unknown.
const PackedType* packed_type(std::string_view name);
const PackedType* packed_type(int ggml_id);
// All of them, ascending by number.
const PackedType* packed_types(int& count);

// A grid: `bits` index bits an element choose one of 2^bits int8 levels; w = scale * level + min. A row is whole blocks of
// `group` elements (the last is padded), each a scale, a minimum if there is one, then the indices, least significant bit first.
enum class ScaleType : int { f32, f16, bf16 };

struct GridRow {
  int bits = 0;       // 1..8
  int64_t group = 0;  // a multiple of 16; 0: a row is one block, padded to a multiple of 16 (64 beyond 256 columns)
  ScaleType scale = ScaleType::f16;
  bool has_min = false;    // the minimum has the scale's type
  uint8_t code[256] = {};  // level + 128 of each index
};

// What the matmuls need to know of rows of `cols` elements. A scale for more than 256 elements is repeated for equal parts.
CodesLayout grid_layout(const GridRow& grid, int64_t cols);
extern const Kernel<DecodeCodes> decode_grid;

}  // namespace gemloupe
