#include "kernels/codes/scales.h"
#include "kernels/codes/variants.h"

namespace gemloupe {

namespace {

Kernel<DecodeCodes> everywhere(DecodeCodes* readable, DecodeCodes* with_avx2, DecodeCodes* with_avx512) {
#if defined(__x86_64__)
  return {{"reference", Isa::reference, readable}, {"avx2", Isa::avx2, with_avx2}, {"avx512", Isa::avx512, with_avx512}};
#else
  (void)with_avx2, (void)with_avx512;
  return {{"reference", Isa::reference, readable}};
#endif
}

Kernel<DecodeCodes> only(DecodeCodes* readable) { return {{"reference", Isa::reference, readable}}; }

#if defined(__x86_64__)
#define GEMLOUPE_EVERYWHERE(name) everywhere(reference::name, avx2::name, avx512::name)
#else
#define GEMLOUPE_EVERYWHERE(name) everywhere(reference::name, nullptr, nullptr)
#endif

constexpr int kTypes = 25;

// Ascending by number. In a function, so that other static objects may ask at any time.
const PackedType* all() {
  static const Kernel<DecodeCodes> q4_0 = GEMLOUPE_EVERYWHERE(q4_0), q4_1 = GEMLOUPE_EVERYWHERE(q4_1),
                                   q5_0 = GEMLOUPE_EVERYWHERE(q5_0), q5_1 = GEMLOUPE_EVERYWHERE(q5_1),
                                   q8_0 = GEMLOUPE_EVERYWHERE(q8_0), q2_k = GEMLOUPE_EVERYWHERE(q2_k),
                                   q3_k = GEMLOUPE_EVERYWHERE(q3_k), q4_k = GEMLOUPE_EVERYWHERE(q4_k),
                                   q5_k = GEMLOUPE_EVERYWHERE(q5_k), q6_k = GEMLOUPE_EVERYWHERE(q6_k),
                                   iq4_nl = GEMLOUPE_EVERYWHERE(iq4_nl), iq4_xs = GEMLOUPE_EVERYWHERE(iq4_xs),
                                   mxfp4 = GEMLOUPE_EVERYWHERE(mxfp4), nvfp4 = GEMLOUPE_EVERYWHERE(nvfp4),
                                   tq2_0 = GEMLOUPE_EVERYWHERE(tq2_0);
  static const Kernel<DecodeCodes> iq2_xxs = only(reference::iq2_xxs), iq2_xs = only(reference::iq2_xs),
                                   iq2_s = only(reference::iq2_s), iq3_xxs = only(reference::iq3_xxs),
                                   iq3_s = only(reference::iq3_s), iq1_s = only(reference::iq1_s),
                                   iq1_m = only(reference::iq1_m), tq1_0 = only(reference::tq1_0),
                                   q1_0 = only(reference::q1_0), q2_0 = only(reference::q2_0);
  //                                       block, bytes, group, offset, has_min
  static const PackedType types[kTypes] = {
      {"Q4_0", 2, {32, 18, 32, 8, false}, &q4_0},
      {"Q4_1", 3, {32, 20, 32, 0, true}, &q4_1},
      {"Q5_0", 6, {32, 22, 32, 16, false}, &q5_0},
      {"Q5_1", 7, {32, 24, 32, 0, true}, &q5_1},
      {"Q8_0", 8, {32, 34, 32, 128, false}, &q8_0},
      {"Q2_K", 10, {256, 84, 16, 0, true}, &q2_k},
      {"Q3_K", 11, {256, 110, 16, 4, false}, &q3_k},
      {"Q4_K", 12, {256, 144, 32, 0, true}, &q4_k},
      {"Q5_K", 13, {256, 176, 32, 0, true}, &q5_k},
      {"Q6_K", 14, {256, 210, 16, 32, false}, &q6_k},
      {"IQ2_XXS", 16, {256, 66, 32, 43, false}, &iq2_xxs},
      {"IQ2_XS", 17, {256, 74, 16, 43, false}, &iq2_xs},
      {"IQ3_XXS", 18, {256, 98, 32, 62, false}, &iq3_xxs},
      {"IQ1_S", 19, {256, 50, 32, 9, false}, &iq1_s},
      {"IQ4_NL", 20, {32, 18, 32, 128, false}, &iq4_nl},
      {"IQ3_S", 21, {256, 110, 32, 15, false}, &iq3_s},
      {"IQ2_S", 22, {256, 82, 16, 43, false}, &iq2_s},
      {"IQ4_XS", 23, {256, 136, 32, 128, false}, &iq4_xs},
      {"IQ1_M", 29, {256, 56, 16, 9, false}, &iq1_m},
      {"TQ1_0", 34, {256, 54, 256, 1, false}, &tq1_0},
      {"TQ2_0", 35, {256, 66, 256, 1, false}, &tq2_0},
      {"MXFP4", 39, {32, 17, 32, 12, false}, &mxfp4},
      {"NVFP4", 40, {64, 36, 16, 12, false}, &nvfp4},
      {"Q1_0", 41, {128, 18, 128, 1, false}, &q1_0},
      {"Q2_0", 42, {64, 18, 64, 1, false}, &q2_0},
  };
  return types;
}

}  // namespace

const PackedType* packed_types(int& count) {
  count = kTypes;
  return all();
}

const PackedType* packed_type(std::string_view name) {
  for (const PackedType* t = all(); t != all() + kTypes; ++t)
    if (name == t->name) return t;
  return nullptr;
}

const PackedType* packed_type(int ggml_id) {
  for (const PackedType* t = all(); t != all() + kTypes; ++t)
    if (ggml_id == t->ggml_id) return t;
  return nullptr;
}

CodesLayout grid_layout(const GridRow& grid, int64_t cols) {
  const int64_t block = codes::grid_block(grid, cols), group = codes::grid_part(block);
  const int64_t header = (grid.scale == ScaleType::f32 ? 4 : 2) * (grid.has_min ? 2 : 1);
  return {static_cast<int>(block), static_cast<int>(header + block * grid.bits / 8), static_cast<int>(group), 128, grid.has_min};
}

const Kernel<DecodeCodes> decode_grid = GEMLOUPE_EVERYWHERE(grid);

}  // namespace gemloupe
