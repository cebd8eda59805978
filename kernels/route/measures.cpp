#include <cmath>
#include <vector>

#include "kernels/route/route.h"

namespace gemloupe {
namespace {

double log_sum_exp(const float* scores, int64_t n) {
  double largest = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::fmax(largest, scores[i]);
  for (int64_t i = 0; i < n; ++i) sum += std::exp(scores[i] - largest);
  return largest + std::log(sum);
}

}  // namespace

void load_counts(Matrix<const int32_t> experts, int64_t n, int64_t* counts) {
  for (int64_t e = 0; e < n; ++e) counts[e] = 0;
  for (int64_t t = 0; t < experts.rows; ++t)
    for (int64_t i = 0; i < experts.cols; ++i)
      if (const int32_t e = experts.row(t)[i]; e >= 0 && e < n) ++counts[e];
}

double balance_loss(Matrix<const float> scores, Matrix<const int32_t> experts) {
  const int64_t n = scores.cols;
  std::vector<int64_t> counts(n);
  load_counts(experts, n, counts.data());
  std::vector<double> mean(n);
  for (int64_t t = 0; t < scores.rows; ++t) {
    const double log_sum = log_sum_exp(scores.row(t), n);
    for (int64_t e = 0; e < n; ++e) mean[e] += std::exp(scores.row(t)[e] - log_sum) / static_cast<double>(scores.rows);
  }
  int64_t total = 0;
  for (const int64_t c : counts) total += c;
  double loss = 0;
  for (int64_t e = 0; e < n && total; ++e) loss += static_cast<double>(counts[e]) / static_cast<double>(total) * mean[e];
  return loss * static_cast<double>(n);
}

double z_loss(Matrix<const float> scores) {
  double loss = 0;
  for (int64_t t = 0; t < scores.rows; ++t) {
    const double z = log_sum_exp(scores.row(t), scores.cols);
    loss += z * z / static_cast<double>(scores.rows);
  }
  return loss;
}

double mean_entropy(Matrix<const float> scores) {
  double entropy = 0;
  for (int64_t t = 0; t < scores.rows; ++t) {
    const double log_sum = log_sum_exp(scores.row(t), scores.cols);
    for (int64_t e = 0; e < scores.cols; ++e) {
      const double log_p = scores.row(t)[e] - log_sum;
      if (const double p = std::exp(log_p); p != 0) entropy -= p * log_p / static_cast<double>(scores.rows);
    }
  }
  return entropy;
}

double load_entropy(const int64_t* counts, int64_t n) {
  double total = 0, entropy = 0;
  for (int64_t e = 0; e < n; ++e) total += static_cast<double>(counts[e]);
  for (int64_t e = 0; e < n; ++e)
    if (counts[e] > 0) entropy -= static_cast<double>(counts[e]) / total * std::log(static_cast<double>(counts[e]) / total);
  return entropy;
}

double max_violation(const int64_t* counts, int64_t n) {
  double total = 0, largest = 0;
  for (int64_t e = 0; e < n; ++e) {
    total += static_cast<double>(counts[e]);
    largest = std::fmax(largest, static_cast<double>(counts[e]));
  }
  return total > 0 ? largest * static_cast<double>(n) / total - 1 : 0;
}

}  // namespace gemloupe
