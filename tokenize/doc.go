// Package tokenize turns text into token ids and back, and chats into prompts,
// from the files that Hugging Face publishes with a model, and agrees with its
// libraries to the token.
//
// Text takes this way, each stop in the file of its name: added tokens are cut
// out (added), the rest is normalized (normalize, nfc), split into pieces
// (split; scan for the patterns of well-known families, match and pattern for
// any other), and each piece becomes tokens (bpe). Byte-pair merging is done
// by walking a trie (walk, trie), or by definition for vocabularies that do
// not allow that (merge). Ids become text by a chain of stages that hold back
// what may still change (stream, decode, utf8).
//
// Unicode versions matter for exactness: Hugging Face's regular expressions
// know Unicode 16 (newer), its normal forms Unicode 9 (nfc), its punctuation
// Unicode 8 (split).
package tokenize
