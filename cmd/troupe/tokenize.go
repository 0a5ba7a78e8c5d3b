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
	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// tokenizeOptions are the flags of tokenize.
type tokenizeOptions struct {
	Model   string `flag:"model,m" value:"NAME|DIR|builtin" help:"whose tokenizer: a model on Hugging Face, OWNER/NAME, a checkpoint's directory, or the model inside this program"`
	Decode  bool   `flag:"decode,d" help:"the other way: from token ids to text"`
	Special bool   `flag:"special" help:"add the model's own special tokens around the text; keep special tokens in decoded text"`
	Chat    bool   `flag:"chat" help:"the text is JSON: messages, or an object with messages, tools, chat_template_kwargs and so on, as POST /tokenize takes"`
	Render  bool   `flag:"render" help:"print the prompt that the chat template makes, not its tokens"`
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
input when there are none. With --chat the text is a conversation, which the model's
template makes a prompt of first. With --decode it prints the text of token ids.`,
		Example: `  troupe tokenize "Once upon a time"
  troupe tokenize --model ~/models/Qwen3-0.6B --count < README.md
  troupe tokenize --chat --render '[{"role": "user", "content": "Hello"}]'
  troupe tokenize --decode 12 345 67`,
	}
	found := bind(cmd, section{"Tokenizer and output", options})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options.check(found)
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
		t, maxPositions, err := openTokenizer(cmd, options.Model)
		if err != nil {
			return err
		}
		if options.Decode {
			return options.decode(cmd.OutOrStdout(), t, text)
		}
		return options.encode(cmd.OutOrStdout(), t, text, maxPositions)
	}
	return cmd
}

func (o *tokenizeOptions) check(found *faults) {
	forms := 0
	for _, given := range []bool{o.Render, o.Pieces, o.Count, o.JSON} {
		if given {
			forms++
		}
	}
	switch {
	case forms > 1:
		found.add("--render, --pieces, --count and --json are forms of output: give one")
	case o.Render && !o.Chat:
		found.add("--render shows what a chat template makes of a conversation: it needs --chat")
	}
	if o.Decode && (o.Chat || o.Pieces || o.Count) {
		found.add("--chat, --pieces and --count are for encoding: leave out --decode")
	}
}

func (o *tokenizeOptions) encode(out io.Writer, t *tokenize.Tokenizer, text string, maxLen int) (err error) {
	special := o.Special
	if o.Chat {
		if text, err = renderChat(t, text, &special); err != nil {
			return err
		}
	}
	if o.Render {
		_, err = fmt.Fprintln(out, text)
		return err
	}
	ids := t.Encode(text, special)
	switch {
	case o.JSON: // as from POST /tokenize
		return printJSON(out, struct {
			Count  int     `json:"count"`
			MaxLen int     `json:"max_model_len"`
			Tokens []int32 `json:"tokens"`
			Prompt string  `json:"prompt"`
		}{len(ids), maxLen, append([]int32{}, ids...), text})
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

// renderChat makes a prompt of a conversation: JSON as POST /tokenize takes, or
// its messages alone. It sets special if the JSON does.
func renderChat(t *tokenize.Tokenizer, text string, special *bool) (string, error) {
	v, err := jinja.DecodeJSON([]byte(text))
	if err != nil {
		return "", &usageError{fmt.Errorf("the conversation is not JSON: %w", err)}
	}
	chat := tokenize.Chat{AddGenerationPrompt: true}
	if object, ok := v.(*jinja.Dict); !ok {
		if chat.Messages, err = tokenize.ListOf[tokenize.Message](v, "messages"); err != nil {
			return "", err
		}
	} else {
		for i := range object.Len() {
			name, v := object.At(i)
			if !setChat(&chat, special, name.(string), v) {
				return "", &usageError{fmt.Errorf("the conversation's %q is not known or of the wrong type: there are messages, tools, documents, "+
					"chat_template_kwargs (an object), and add_generation_prompt, continue_final_message and add_special_tokens (true or false)", name)}
			}
		}
	}
	return t.Render(chat)
}

func setChat(chat *tokenize.Chat, special *bool, name string, v any) (ok bool) {
	switch name {
	case "messages":
		chat.Messages, ok = listOf[tokenize.Message](v)
	case "tools":
		chat.Tools, ok = listOf[tokenize.Tool](v)
	case "documents":
		chat.Documents, ok = listOf[tokenize.Document](v)
	case "add_generation_prompt":
		chat.AddGenerationPrompt, ok = v.(bool)
	case "continue_final_message":
		chat.ContinueFinalMessage, ok = v.(bool)
	case "add_special_tokens":
		*special, ok = v.(bool)
	case "chat_template_kwargs":
		var kwargs *jinja.Dict
		if kwargs, ok = v.(*jinja.Dict); ok {
			chat.Kwargs = make(map[string]any, kwargs.Len())
			for i := range kwargs.Len() {
				k, v := kwargs.At(i)
				chat.Kwargs[k.(string)] = v
			}
		}
	}
	return ok
}

func listOf[T ~struct{ tokenize.Object }](v any) ([]T, bool) {
	if v == nil {
		return nil, true
	}
	list, err := tokenize.ListOf[T](v, "")
	return list, err == nil
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
		return printJSON(out, map[string]any{"prompt": decoded}) // as from POST /detokenize
	}
	_, err := fmt.Fprintln(out, decoded)
	return err
}

// openTokenizer loads the tokenizer of a model and says how many positions the
// model has. Of one on a hub no weights are pulled.
func openTokenizer(cmd *cobra.Command, spec string) (*tokenize.Tokenizer, int, error) {
	log := Log{Level: "warn", Format: "auto"}
	dir, err := findModel(cmd, spec, tokenizing, log.newLogger(cmd.ErrOrStderr()))
	if err != nil {
		return nil, 0, err
	}
	m, err := model.Open(dir, true)
	if err != nil {
		return nil, 0, err
	}
	if m.Files == nil {
		return nil, 0, fmt.Errorf("%s has no tokenizer.json", spec)
	}
	t, err := tokenize.Load(m.Files)
	return t, m.Config.MaxPositions, err
}
