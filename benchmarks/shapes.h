// The matrices of the models as they are: rows (outputs) x cols (inputs) of each kind of weight.
#pragma once

#include <cstdint>

namespace gemloupe::shapes {

struct Shape {
  const char* name;  // model.weight
  int64_t rows, cols;
  int64_t experts = 0;  // of `rows` rows each; 0: an ordinary weight
};

inline constexpr Shape kAll[] = {
    {"270M.attn_q", 1024, 640}, {"270M.attn_k", 256, 640}, {"270M.attn_out", 640, 1024}, {"270M.ffn_gate", 2048, 640},
    {"270M.ffn_down", 640, 2048}, {"270M.head", 262144, 640},

    {"E2B.attn_q", 2048, 1536}, {"E2B.attn_k", 256, 1536}, {"E2B.attn_out", 1536, 2048}, {"E2B.attn_q_full", 4096, 1536},
    {"E2B.ffn_gate", 6144, 1536}, {"E2B.ffn_down", 1536, 6144}, {"E2B.ffn_gate_wide", 12288, 1536},
    {"E2B.ffn_down_wide", 1536, 12288}, {"E2B.ple_gate", 256, 1536}, {"E2B.ple_out", 1536, 256}, {"E2B.head", 262144, 1536},

    {"E4B.attn_q", 2048, 2560}, {"E4B.attn_k", 512, 2560}, {"E4B.attn_out", 2560, 2048}, {"E4B.ffn_gate", 10240, 2560},
    {"E4B.ffn_down", 2560, 10240}, {"E4B.head", 262144, 2560},

    {"12B.attn_q", 4096, 3840}, {"12B.attn_k", 2048, 3840}, {"12B.attn_out", 3840, 4096}, {"12B.ffn_gate", 15360, 3840},
    {"12B.ffn_down", 3840, 15360}, {"12B.head", 262144, 3840},

    {"26B.attn_q", 4096, 2816}, {"26B.attn_k", 2048, 2816}, {"26B.attn_out", 2816, 4096}, {"26B.ffn_gate", 2112, 2816},
    {"26B.ffn_down", 2816, 2112}, {"26B.experts_gate_up", 1408, 2816, 128}, {"26B.experts_down", 2816, 704, 128},
    {"26B.router", 128, 2816}, {"26B.head", 262144, 2816},

    {"31B.attn_q", 8192, 5376}, {"31B.attn_k", 4096, 5376}, {"31B.attn_out", 5376, 8192}, {"31B.ffn_gate", 21504, 5376},
    {"31B.ffn_down", 5376, 21504}, {"31B.head", 262144, 5376},
};

}  // namespace gemloupe::shapes
