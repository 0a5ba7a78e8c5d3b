package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// formatOptions are the flags of bench formats.
type formatOptions struct {
	Model   string   `flag:"model,m" value:"NAME|DIR|builtin" help:"whose formats are measured, as for serve"`
	Prompt  []string `flag:"prompt" value:"TEXT" help:"what it replies to; may be repeated"`
	NumSeqs int      `flag:"num-seqs" value:"N" min:"1" help:"replies, prompts in turn"`
	Tokens  int      `flag:"tokens" value:"N" min:"1" help:"tokens of a reply, at most"`
	Seed    uint64   `flag:"seed" value:"N" help:"of what is drawn"`
}

func newBenchFormats() *cobra.Command {
	o := &formatOptions{Model: model.Builtin, NumSeqs: 96, Tokens: 200, Prompt: []string{
		"Tell me a story about a fox.", "Tell me a story about a lighthouse.", "Tell me a story about a small robot.",
		"Tell me a story about a teacher and a cloud.", "What is the opposite of tall?", "What can you do?",
	}}
	log := Log{Level: "warn", Format: "auto"}
	cmd := &cobra.Command{
		Use:   "formats [flags]",
		Short: "What 8 and 4 bits cost: a model's loss in each format that a processor holds",
		Long: `Formats has a model reply in float32, drawing what it finds likely, and asks each format
how likely it finds every token of the replies. What a format finds them less likely by
is how far it is from the model. A quantised model is measured as it is, too.`,
		Example: `  troupe bench formats
  troupe bench formats --model Qwen/Qwen3-0.6B --num-seqs 8 --prompt "Explain tides."`,
		Args: noArgs,
	}
	found := bind(cmd, section{"Work", o})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if found.err() != nil {
			return found.err()
		}
		ctx, cancel := interruptible(cmd.Context())
		defer cancel()
		logger := log.newLogger(cmd.ErrOrStderr())
		dir, err := findModel(cmd, o.Model, whole, logger)
		if err != nil {
			return err
		}
		m, err := model.Open(dir, false)
		if err != nil {
			return err
		}
		defer m.Close()
		f := bench.Formats{Device: "cpu", Model: m, Tokens: o.Tokens, Seed: o.Seed, Progress: showProgress(cmd.ErrOrStderr(), logger, "formats", false)}
		if f.Prompts, err = o.prompts(m); err != nil {
			return err
		}
		losses, err := f.Run(ctx)
		if err != nil {
			return err
		}
		return bench.WriteFormats(cmd.OutOrStdout(), losses)
	}
	return cmd
}

// prompts are the conversations that the texts begin, or the texts where the model
// has no chat template.
func (o *formatOptions) prompts(m *model.Model) (all [][]int32, err error) {
	if m.Files == nil {
		return nil, errors.New("the model has no tokenizer, so there is nothing to reply to")
	}
	t, err := tokenize.Load(m.Files)
	if err != nil {
		return nil, err
	}
	for i := range o.NumSeqs {
		text, special := o.Prompt[i%len(o.Prompt)], true
		if t.HasChatTemplate() {
			if text, err = t.Render(*tokenize.NewChat(tokenize.UserMessage(text))); err != nil {
				return nil, err
			}
			special = false
		}
		ids := t.Encode(text, special)
		if len(ids) == 0 {
			return nil, &usageError{fmt.Errorf("--prompt %q has no tokens", o.Prompt[i%len(o.Prompt)])}
		}
		all = append(all, ids)
	}
	return all, nil
}
