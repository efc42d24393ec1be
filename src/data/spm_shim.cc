#include "data/spm_shim.h"

#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <unordered_map>
#include <vector>

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

namespace sp = sentencepiece;

struct iso_spm {
    sp::SentencePieceProcessor processor;
};

namespace {

/* C callers know no exceptions: whatever is thrown in `body` becomes a message. */
template <typename Body> char *guard(Body body) {
    try {
        sp::util::Status status = body();
        return status.ok() ? nullptr : strdup(status.message());
    } catch (const std::exception &error) {
        return strdup(error.what());
    } catch (...) {
        return strdup("unknown failure in libsentencepiece");
    }
}

template <typename T> T *copy_out(const T *data, size_t n) {
    T *out = static_cast<T *>(malloc(n * sizeof(T) + 1));
    if (!out) throw std::bad_alloc();
    memcpy(static_cast<void *>(out), data, n * sizeof(T));
    return out;
}

class CallbackIterator : public sp::SentenceIterator {
  public:
    CallbackIterator(iso_spm_next_fn next, void *ctx) : next_(next), ctx_(ctx) {
        CallbackIterator::Next();
    }
    bool done() const override { return done_; }
    void Next() override {
        const char *text;
        size_t n_bytes;
        done_ = !next_(ctx_, &text, &n_bytes);
        if (!done_) value_.assign(text, n_bytes);
    }
    const std::string &value() const override { return value_; }
    sp::util::Status status() const override { return sp::util::Status(); }

  private:
    iso_spm_next_fn next_;
    void *ctx_;
    bool done_ = false;
    std::string value_;
};

} // namespace

extern "C" {

char *iso_spm_load(iso_spm **out, const void *model, size_t n_bytes) {
    *out = nullptr;
    iso_spm *spm = nullptr;
    char *error = guard([&] {
        spm = new iso_spm;
        return spm->processor.LoadFromSerializedProto(
            absl::string_view(static_cast<const char *>(model), n_bytes));
    });
    if (error)
        delete spm;
    else
        *out = spm;
    return error;
}

void iso_spm_free(iso_spm *spm) {
    delete spm;
}

int iso_spm_n_ids(const iso_spm *spm) {
    return spm->processor.GetPieceSize();
}

iso_spm_kind iso_spm_piece(const iso_spm *spm, int id, const char **text, size_t *n_bytes) {
    const std::string &piece = spm->processor.IdToPiece(id);
    *text = piece.data();
    *n_bytes = piece.size();
    if (spm->processor.IsByte(id)) return ISO_SPM_BYTE;
    if (spm->processor.IsControl(id)) return ISO_SPM_CONTROL;
    if (spm->processor.IsUnknown(id)) return ISO_SPM_UNKNOWN;
    if (spm->processor.IsUnused(id)) return ISO_SPM_UNUSED;
    return ISO_SPM_NORMAL;
}

char *iso_spm_encode(const iso_spm *spm, const char *text, size_t n_bytes, int32_t **ids,
                     size_t *n_ids) {
    *ids = nullptr;
    *n_ids = 0;
    return guard([&] {
        std::vector<int> found;
        sp::util::Status status = spm->processor.Encode(absl::string_view(text, n_bytes), &found);
        if (status.ok()) {
            *ids = copy_out(found.data(), found.size());
            *n_ids = found.size();
        }
        return status;
    });
}

char *iso_spm_train(void **model, size_t *n_bytes, int vocab_size, double coverage,
                    const char *separator, iso_spm_next_fn next, void *ctx) {
    *model = nullptr;
    *n_bytes = 0;
    return guard([&] {
        const std::unordered_map<std::string, std::string> options = {
            {"model_type", "bpe"},
            {"vocab_size", std::to_string(vocab_size)},
            {"hard_vocab_limit", "true"},
            {"character_coverage", std::to_string(coverage)},
            /* what makes it lossless */
            {"normalization_rule_name", "identity"},
            {"byte_fallback", "true"},
            {"add_dummy_prefix", "false"},
            {"remove_extra_whitespaces", "false"},
            /* pieces: runs of spaces are one (indented code), digits stand alone (numbers are read
             * the same wherever they stand), no piece spans two words */
            {"split_by_whitespace", "true"},
            {"allow_whitespace_only_pieces", "true"},
            {"split_digits", "true"},
            /* special ids: unknown (never produced) and the separator */
            {"unk_id", "0"},
            {"bos_id", "-1"},
            {"eos_id", "-1"},
            {"pad_id", "-1"},
            {"control_symbols", separator},
            /* one thread and no sampling: the same text gives the same model */
            {"num_threads", "1"},
            {"input_sentence_size", "0"},
            {"shuffle_input_sentence", "false"},
            {"max_sentence_length", "1000000"},
            {"minloglevel", "3"},
        };
        CallbackIterator sentences(next, ctx);
        std::string trained;
        sp::util::Status status = sp::SentencePieceTrainer::Train(options, &sentences, &trained);
        if (status.ok()) {
            *model = copy_out(trained.data(), trained.size());
            *n_bytes = trained.size();
        }
        return status;
    });
}

} // extern "C"
