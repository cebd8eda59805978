// Writes texts: prompts in, tokens out, many sequences in each step.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "csrc/io/tokenizer.h"
#include "csrc/session/sampler.h"
#include "csrc/session/session.h"

namespace gemloupe {

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplerOptions sampler;
  std::vector<std::string> stop;         // texts that end a sequence; they are not part of it
  std::vector<int32_t> stop_ids;         // tokens that end a sequence; they are not part of it
  Arithmetic prompt = Arithmetic::bf16;  // how the prompts are read
  Arithmetic decode = Arithmetic::exact; // and the tokens that were generated
  int64_t together = 16;                 // the most sequences in one step; others wait
};

enum class Finish { no, length, stop_text, stop_id, context };
const char* name(Finish finish);

// What happened to one sequence in one step.
struct Event {
  int64_t sequence = 0;
  int32_t token = -1;
  std::string text;            // newly certain text: whole characters, nothing that may still become a stop text
  Finish finish = Finish::no;
};

class Generation {
 public:
  // Each session begins where it is: empty, or with a past. An empty prompt needs a past, whose last token is then read again.
  // tokenizer may be null: texts are then empty and `stop` must be.
  Generation(std::vector<std::shared_ptr<Session>> sessions, std::vector<std::vector<int32_t>> prompts,
             std::shared_ptr<const Tokenizer> tokenizer, const GenerateOptions& options);

  bool done() const;
  // One token for every running sequence. After an exception (an interruption) nothing was lost: call it again to go on.
  std::vector<Event> step(Trace* trace = nullptr);

  const std::vector<int32_t>& tokens(int64_t sequence) const;   // generated so far, without a stop id
  const std::string& text(int64_t sequence) const;
  Finish finish(int64_t sequence) const;

 private:
  struct Sequence {
    std::shared_ptr<Session> session;
    std::vector<int32_t> next;          // tokens to read in the next step, and how
    Arithmetic arithmetic = Arithmetic::bf16;
    std::vector<int32_t> made;
    std::unique_ptr<StreamDecoder> decoder;
    std::string text, held;             // held: text that may become a stop text
    Finish finish = Finish::no;
  };
  Event advance(int64_t index, const Tensor& logits);
  static void read_last_again(Sequence& s);  // in its own arithmetic

  std::vector<Sequence> sequences_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  GenerateOptions options_;
  std::deque<int64_t> waiting_;
  std::vector<int64_t> running_;
};

}  // namespace gemloupe
