#include "csrc/formats/strips.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "csrc/core/error.h"
#include "csrc/core/memory.h"
#include "csrc/formats/packed.h"

namespace gemloupe {

bool strips_pay() { return matmul_strips.is_fast() && matmul_experts_strips.is_fast(); }

std::optional<Strips> strips_for(const Weight& w) {
  const auto* format = dynamic_cast<const CodesFormat*>(w.format.get());
  if (!format || !w.rows || !w.cols || w.experts < 1 || w.rows % w.experts) return {};
  Strips strips;
  strips.parts = w.experts;
  strips.rows = w.rows / w.experts;
  strips.cols = w.cols;
  if (!strip_layout(format->rows_of(w), strips.layout)) return {};
  return strips;
}

std::shared_ptr<const Weight> packed_weight(const std::shared_ptr<const Weight>& w, Rows rows) {
  std::optional<Strips> strips = strips_for(*w);
  if (w->strips || !strips) return w;
  const auto& format = static_cast<const CodesFormat&>(*w->format);
  // Together with the memory that it points into.
  struct Owned {
    std::shared_ptr<uint8_t> memory;
    Strips strips;
  };
  auto owned = std::make_shared<Owned>();
  owned->memory = large_memory(static_cast<size_t>(strips->bytes()));
  owned->strips = *strips;
  pack_strips(format.rows_of(*w), *strips, owned->memory.get());
  owned->strips.data = owned->memory.get();
  auto packed = std::make_shared<Weight>(*w);
  packed->strips = std::shared_ptr<const Strips>(owned, &owned->strips);
  if (rows == Rows::drop) {
    packed->data = nullptr;
    packed->owner = nullptr;
  }
  return packed;
}

void read_bytes(const Weight& w, int64_t first, int64_t count, uint8_t* to) {
  check(first >= 0 && count >= 0 && first <= w.bytes() && count <= w.bytes() - first, "weight of ", w.bytes(), " bytes: has no bytes [",
        first, ", ", first + count, ")");
  if (!count) return;
  if (w.data) {
    std::memcpy(to, w.data + first, static_cast<size_t>(count));
    return;
  }
  const auto& format = static_cast<const CodesFormat&>(*w.format);
  const int64_t row_bytes = format.row_bytes(w.cols), row = first / row_bytes, end = (first + count - 1) / row_bytes + 1;
  if (first == row * row_bytes && count == (end - row) * row_bytes) return unpack_strips(*w.strips, format.rows_of(w), row, end - row, to);
  std::vector<uint8_t> rows(static_cast<size_t>((end - row) * row_bytes));
  unpack_strips(*w.strips, format.rows_of(w), row, end - row, rows.data());
  std::copy_n(rows.data() + (first - row * row_bytes), count, to);
}

}  // namespace gemloupe
