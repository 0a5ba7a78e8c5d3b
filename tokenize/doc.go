// Package tokenize turns text into token ids and back, and chats into prompts,
// from the files that Hugging Face publishes with a model, and agrees with its
// libraries to the token.
//
// Text takes this way, each stop in the file of its name: added tokens are cut
// out (added), the rest is normalized (normalize, nfc, marks), split into pieces
// (split; scan for the patterns of well-known families, match, pattern, regex
// and machine for any other), and each piece becomes tokens (bpe): those of a
// word met before are remembered (cache), others found by walking a trie (walk,
// trie, pairs), or by merging as byte-pair encoding is defined, for vocabularies that do not
// allow that (merge). Ids become text by a chain of stages that hold back what
// may still change (stream, decode, utf8).
//
// A Chat is made of messages as OpenAI's API has them (message), of which the model's template makes a
// prompt (chat); what a template cannot take as that API allows it is found out (chat_tools).
//
// What a model's files say may cost so much and no more: bounds and vocab tell what
// is refused when a tokenizer is loaded, and no pattern takes more than linear time.
// Tokens that only the files beside tokenizer.json know come from extra. How long a
// prompt is at least, before it is written or encoded, is told by floor.
//
// Byte-pair models are all it reads: Unigram (T5, Gemma 1), WordPiece and
// WordLevel are refused by name, and so is any component it cannot run.
//
// Unicode versions matter for exactness: Hugging Face's regular expressions
// know Unicode 16 (newer), its normal forms Unicode 9 (nfc), its punctuation
// Unicode 8 (split).
package tokenize
