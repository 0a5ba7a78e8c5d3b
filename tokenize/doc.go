// Package tokenize turns text into token ids and back, from the files that
// Hugging Face publishes with a model, and agrees with its libraries to the
// token.
package tokenize
