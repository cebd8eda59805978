#include "csrc/session/generate.h"

#include <algorithm>

#include "csrc/core/error.h"

namespace gemloupe {

const char* name(Finish finish) {
  constexpr const char* kNames[] = {"no", "length", "stop_text", "stop_id", "context"};
  return kNames[static_cast<int>(finish)];
}

Generation::Generation(std::vector<std::shared_ptr<Session>> sessions, std::vector<std::vector<int32_t>> prompts,
                       std::shared_ptr<const Tokenizer> tokenizer, const GenerateOptions& options)
    : tokenizer_(std::move(tokenizer)), options_(options) {
  check(sessions.size() == prompts.size(), "generate: ", sessions.size(), " sessions for ", prompts.size(), " prompts");
  check(options_.max_tokens >= 0, "max_tokens must be 0 or more, got ", options_.max_tokens);
  check(options_.together >= 1, "together must be at least 1, got ", options_.together);
  check(options_.stop.empty() || tokenizer_, "stop: texts cannot be found without a tokenizer; use stop_ids");
  const Graph* graph = sessions.empty() ? nullptr : sessions[0]->graph().get();
  if (graph) {
    const int64_t vocabulary = graph->values()[static_cast<size_t>(graph->value("logits"))].type.width();
    options_.sampler.check_for(vocabulary);
    for (int32_t id : options_.stop_ids)
      check(id >= 0 && id < vocabulary, "stop_ids: token id ", id, " is outside the vocabulary of ", vocabulary);
  }
  for (const std::string& s : options_.stop) check(!s.empty(), "stop: an empty text would stop everything");
  for (size_t i = 0; i < sessions.size(); ++i) {
    Sequence s;
    s.session = sessions[i];
    s.next = std::move(prompts[i]);
    s.arithmetic = options_.prompt;
    const std::string at = gemloupe::text("prompt ", i, ": ");
    check(!s.next.empty() || s.session->position() > 0, at, "is empty; give at least one token (bos=True gives one)");
    if (s.next.empty()) read_last_again(s);
    check(s.session->position() + static_cast<int64_t>(s.next.size()) <= s.session->context(), at, s.next.size(), " tokens do not fit into the context of ",
          s.session->context(), "; make it larger or the prompt shorter");
    if (tokenizer_) s.decoder = std::make_unique<StreamDecoder>(tokenizer_);
    if (options_.max_tokens == 0) s.finish = Finish::length;
    else waiting_.push_back(static_cast<int64_t>(i));
    sequences_.push_back(std::move(s));
  }
}

void Generation::read_last_again(Sequence& s) {
  s.next = {s.session->tokens().back()};
  s.arithmetic = s.session->arithmetics().back();
  s.session->rewind(1);
}

bool Generation::done() const { return waiting_.empty() && running_.empty(); }
const std::vector<int32_t>& Generation::tokens(int64_t i) const { return sequences_.at(static_cast<size_t>(i)).made; }
const std::string& Generation::text(int64_t i) const { return sequences_.at(static_cast<size_t>(i)).text; }
Finish Generation::finish(int64_t i) const { return sequences_.at(static_cast<size_t>(i)).finish; }

std::vector<Event> Generation::step(Trace* trace) {
  while (!waiting_.empty() && static_cast<int64_t>(running_.size()) < options_.together) {
    running_.push_back(waiting_.front());
    waiting_.pop_front();
  }
  std::vector<Event> events;
  if (running_.empty()) return events;
  std::vector<Feed> feeds;
  for (int64_t i : running_) {
    Sequence& s = sequences_[static_cast<size_t>(i)];
    feeds.push_back({s.session.get(), s.next, 1, s.arithmetic, {}});
  }
  std::vector<int64_t> before;
  for (const Feed& f : feeds) before.push_back(f.session->position());
  std::vector<Tensor> logits;
  try {
    logits = feed(feeds, trace);
  } catch (...) {
    // What complete steps have read need not be read again when the caller goes on.
    for (size_t k = 0; k < running_.size(); ++k) {
      Sequence& s = sequences_[static_cast<size_t>(running_[k])];
      const int64_t read = s.session->position() - before[k];
      s.next.erase(s.next.begin(), s.next.begin() + read);
      if (s.next.empty()) read_last_again(s);  // its logits are lost with the step
    }
    throw;
  }
  for (size_t k = 0; k < running_.size(); ++k) events.push_back(advance(running_[k], logits[k]));
  std::erase_if(running_, [&](int64_t i) { return sequences_[static_cast<size_t>(i)].finish != Finish::no; });
  return events;
}

namespace {

// The length of the longest end of `s` that is a beginning of `stop`.
size_t overlap(const std::string& s, const std::string& stop) {
  for (size_t n = std::min(s.size(), stop.size()); n > 0; --n)
    if (s.compare(s.size() - n, n, stop, 0, n) == 0) return n;
  return 0;
}

// Not inside a character: the largest border of UTF-8 characters at or before `at`.
size_t border(const std::string& s, size_t at) {
  while (at > 0 && at < s.size() && (static_cast<unsigned char>(s[at]) & 0xc0) == 0x80) --at;
  return at;
}

}  // namespace

Event Generation::advance(int64_t index, const Tensor& logits) {
  Sequence& s = sequences_[static_cast<size_t>(index)];
  Event event;
  event.sequence = index;
  s.next.clear();
  event.token = sample(options_.sampler, {logits.floats(), static_cast<size_t>(logits.width())}, s.session->tokens(), s.made.size());
  const bool stops = std::find(options_.stop_ids.begin(), options_.stop_ids.end(), event.token) != options_.stop_ids.end();
  if (stops) {
    s.finish = Finish::stop_id;
  } else {
    s.made.push_back(event.token);
    s.next = {event.token};
    s.arithmetic = options_.decode;
    if (s.decoder) s.held += s.decoder->push(event.token);
    if (static_cast<int64_t>(s.made.size()) >= options_.max_tokens) s.finish = Finish::length;
    else if (s.session->position() + 1 > s.session->context()) s.finish = Finish::context;
  }
  if (s.finish != Finish::no && s.decoder) s.held += s.decoder->finish();

  // The first stop text that is complete ends the sequence, whichever token brought its parts.
  size_t cut = std::string::npos;
  for (const std::string& stop : options_.stop) cut = std::min(cut, s.held.find(stop));
  size_t certain = s.held.size();
  if (cut != std::string::npos) {
    certain = cut;
    s.finish = Finish::stop_text;
  } else if (s.finish == Finish::no) {
    for (const std::string& stop : options_.stop) certain = std::min(certain, s.held.size() - overlap(s.held, stop));
    certain = border(s.held, certain);
  }
  event.text = s.held.substr(0, certain);
  s.held.erase(0, certain);
  s.text += event.text;
  event.finish = s.finish;
  return event;
}

}  // namespace gemloupe
