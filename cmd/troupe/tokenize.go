package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// tokenizeOptions are the flags of tokenize.
type tokenizeOptions struct {
	Model   string `flag:"model,m" value:"DIR|builtin" help:"whose tokenizer: a checkpoint's directory, or the model inside this program"`
	Decode  bool   `flag:"decode,d" help:"the other way: from token ids to text"`
	Special bool   `flag:"special" help:"add the model's own special tokens around the text; keep special tokens in decoded text"`
	Pieces  bool   `flag:"pieces" help:"print one token a line: its id and its bytes, quoted"`
	Count   bool   `flag:"count" help:"print only how many tokens there are"`
	JSON    bool   `flag:"json" help:"print JSON"`
}

func newTokenize() *cobra.Command {
	options := &tokenizeOptions{Model: model.Builtin}
	cmd := &cobra.Command{
		Use:   "tokenize [flags] [TEXT…]",
		Short: "Turn text into token ids, or back",
		Long: `Tokenize prints the ids of the tokens of a text, which is the arguments, or standard
input when there are none. With --decode it prints the text of token ids.`,
		Example: `  troupe tokenize "Once upon a time"
  troupe tokenize --model ~/models/Qwen3-0.6B --count < README.md
  troupe tokenize --decode 12 345 67`,
	}
	found := bind(cmd, section{"Tokenizer and output", options})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if options.Pieces && (options.Count || options.JSON) || options.Count && options.JSON {
			found.add("--pieces, --count and --json are three forms of output: give one")
		}
		if options.Decode && (options.Pieces || options.Count) {
			found.add("--pieces and --count are for encoding: leave out --decode")
		}
		if err := found.err(); err != nil {
			return err
		}
		text := strings.Join(args, " ")
		if len(args) == 0 {
			if isTerminal(cmd.InOrStdin()) {
				return &usageError{errors.New("there is no text: give it as an argument or on standard input")}
			}
			data, err := io.ReadAll(cmd.InOrStdin())
			if err != nil {
				return err
			}
			text = string(data)
		}
		m, err := model.Open(options.Model, true)
		if err != nil {
			return err
		}
		if m.Files == nil {
			return fmt.Errorf("%s has no tokenizer.json", options.Model)
		}
		t, err := tokenize.Load(m.Files)
		if err != nil {
			return err
		}
		if options.Decode {
			return options.decode(cmd.OutOrStdout(), t, text)
		}
		return options.encode(cmd.OutOrStdout(), t, text)
	}
	return cmd
}

func (o *tokenizeOptions) encode(out io.Writer, t *tokenize.Tokenizer, text string) (err error) {
	ids := t.Encode(text, o.Special)
	switch {
	case o.JSON:
		return printJSON(out, map[string]any{"text": text, "ids": append([]int32{}, ids...)})
	case o.Count:
		_, err = fmt.Fprintln(out, len(ids))
	case o.Pieces:
		for _, id := range ids {
			if _, err = fmt.Fprintf(out, "%7d  %q\n", id, t.TokenBytes(id)); err != nil {
				return err
			}
		}
	default:
		_, err = fmt.Fprintln(out, strings.Trim(fmt.Sprint(ids), "[]"))
	}
	return err
}

func (o *tokenizeOptions) decode(out io.Writer, t *tokenize.Tokenizer, text string) error {
	var ids []int32
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,[]", r) }) {
		id, err := strconv.Atoi(word)
		if err != nil || id < 0 || id >= t.Vocab() {
			return &usageError{fmt.Errorf("%q is no token id: they are whole numbers from 0 to %d", word, t.Vocab()-1)}
		}
		ids = append(ids, int32(id))
	}
	decoded := t.Decode(ids, !o.Special)
	if o.JSON {
		return printJSON(out, map[string]any{"text": decoded, "ids": append([]int32{}, ids...)})
	}
	_, err := fmt.Fprintln(out, decoded)
	return err
}
