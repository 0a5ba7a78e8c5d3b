package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// chatOptions are the flags of chat and run alone.
type chatOptions struct {
	System   string `flag:"system" value:"TEXT" help:"system message at the conversation's beginning"`
	Markdown bool   `flag:"markdown" help:"show Markdown as it is meant, on a terminal; --markdown=false shows its marks"`
	History  string `flag:"history" value:"FILE|none" help:"keeps what was typed for later conversations (default: troupe/history under XDG_STATE_HOME, or under ~/.local/state)"`
}

func newChat() *cobra.Command {
	cfg, options := defaultConfig(), &chatOptions{Markdown: true}
	cfg.Log.Level = "warn"
	cmd := &cobra.Command{
		Use:   "chat [flags]",
		Short: "Talk to a model in the terminal",
		Long: `Chat talks to a server, or to a model that it loads itself. What is pasted is one message,
however many lines it has. A line ending in a backslash goes on in the next; three quotes
(""") begin and end a text of many lines. Ctrl-R searches what was typed before, Tab
completes commands, Ctrl-C stops a reply, Ctrl-D leaves. /help lists what else can be done.`,
		Example: `  troupe chat
  troupe chat --model Qwen/Qwen3-0.6B
  troupe chat --url localhost:1919 --system "Answer in one sentence."`,
		Args: noArgs,
	}
	sections := append([]section{{"Conversation", options}, {"Sampling", &cfg.Sampling}, {"Server", &cfg.Remote}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cfg.check(found); found.err() != nil {
			return found.err()
		}
		return converse(cmd, cfg, options)
	}
	return cmd
}

func newRun() *cobra.Command {
	cfg, options := defaultConfig(), &chatOptions{Markdown: true}
	cfg.Log.Level = "warn"
	cmd := &cobra.Command{
		Use:   "run [flags] MODEL [PROMPT…]",
		Short: "Talk to a model by its name",
		Long: `Run loads a model, which it pulls when it is not there yet, and talks to it as chat does.
With a prompt it prints one reply, as complete does.`,
		Example: `  troupe run Qwen/Qwen3-0.6B
  troupe run Qwen/Qwen3-0.6B "Tell me a story about a fox"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("run takes a model, such as Qwen/Qwen3-0.6B")}
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return runnableModels(cmd), cobra.ShellCompDirectiveDefault
		},
	}
	sections := append([]section{{"Conversation", options}, {"Sampling", &cfg.Sampling}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("model") {
			found.add("--model is %q, and run is told %q: leave out the flag", cfg.Engine.Model(), args[0])
		}
		cfg.Engine.Models = args[:1]
		if cfg.check(found); found.err() != nil {
			return found.err()
		}
		if len(args) == 1 {
			return converse(cmd, cfg, options)
		}
		one := completeOptions{System: options.System}
		prompt, err := one.prompt(args[1:], cmd.InOrStdin())
		if err != nil {
			return err
		}
		return complete(cmd, cfg, &one, prompt)
	}
	return cmd
}

// converse holds a conversation in the terminal.
func converse(cmd *cobra.Command, cfg *Config, options *chatOptions) (err error) {
	c, err := connect(cmd, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if c.lacking != "" {
		return fmt.Errorf("%s can hold no conversation: %s", c.model, c.lacking)
	}
	env := environOf(cmd.Context())
	s := &session{client: c, sampling: &cfg.Sampling, out: cmd.OutOrStdout(), env: env}
	s.in = newLineReader(cmd.InOrStdin(), cmd.OutOrStdout(), s.completions)
	s.terminal = s.in.terminal()
	s.styled = s.terminal && options.Markdown
	if file := env.history(options.History); s.terminal && file != "" {
		if err := s.in.remember(file); err != nil {
			s.note("what is typed is not kept: %v", err)
		}
	}
	s.reset(options.System)
	return s.run(cmd.Context())
}

// history is the file of what was typed, "" for none.
func (e environ) history(flag string) string {
	switch {
	case flag == "none":
		return ""
	case flag != "":
		return flag
	case e["XDG_STATE_HOME"] != "":
		return filepath.Join(e["XDG_STATE_HOME"], "troupe", "history")
	case e.home() != "":
		return filepath.Join(e.home(), ".local", "state", "troupe", "history")
	}
	return ""
}

// session is a conversation in the terminal.
type session struct {
	client   *client
	sampling *Sampling
	in       *lineReader
	out      io.Writer
	env      environ
	terminal bool // prompts, colours, reasoning and figures are for people
	styled   bool // and so is what Markdown means

	system   string
	messages []Message
	last     Usage // of the newest reply
}

// run reads and answers until the input ends or the user leaves.
func (s *session) run(ctx context.Context) error {
	s.note("%s; /help says what can be done, Ctrl-D leaves", s.client.model)
	for {
		text, err := s.in.read("> ")
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case strings.TrimSpace(text) == "":
			continue
		}
		isCommand := strings.HasPrefix(text, "/") && !strings.Contains(text, "\n")
		leave := false
		if isCommand {
			leave, err = s.command(ctx, text)
		} else {
			err = s.say(ctx, text)
		}
		if leave || err != nil {
			return err
		}
	}
}

// say sends what the user said and shows the reply. It fails only when the
// program was asked to end, or, without a user to read it, with any error.
func (s *session) say(ctx context.Context, text string) error {
	return s.answer(ctx, append(s.messages[:len(s.messages):len(s.messages)], Message{"user", text}))
}

// answer shows the reply to a conversation and remembers both. When nothing
// comes, all is as it was.
func (s *session) answer(ctx context.Context, asked []Message) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	defer s.in.quiet()()
	v := newVoice(s.out, s.styled, s.width())
	thought := v.think
	if !s.terminal {
		thought = nil
	}
	reply, err := s.client.generate(ctx, Prompt{Messages: asked}, s.sampling, v.say, thought)
	v.end()
	switch {
	case ctx.Err() != nil && reply.Text == "":
		s.note("stopped; nothing was said")
		return nil
	case ctx.Err() != nil:
		s.note("stopped")
	case err != nil && !s.terminal:
		return err
	case err != nil:
		s.note("%v", err)
		return nil
	default:
		s.figures(&reply)
	}
	s.messages, s.last = append(asked[:len(asked):len(asked)], Message{"assistant", reply.Text}), reply.Usage
	return nil
}

func (s *session) figures(r *Reply) {
	cut := ""
	if r.FinishReason == "length" {
		cut = ", cut off at its greatest length"
	}
	rate := ""
	if seconds := (r.Elapsed - r.FirstToken).Seconds(); r.Usage.CompletionTokens > 1 && seconds > 0 {
		rate = fmt.Sprintf(", %.1f a second", float64(r.Usage.CompletionTokens-1)/seconds)
	}
	s.note("%d tokens%s, the first after %.0f ms%s", r.Usage.CompletionTokens, rate, r.FirstToken.Seconds()*1000, cut)
}

// note tells the user something that is not part of the conversation, with words whole.
func (s *session) note(format string, args ...any) {
	if !s.terminal {
		return
	}
	var out strings.Builder
	w := wrapper{width: s.width()}
	w.text(&out, fmt.Sprintf(format, args...))
	w.flush(&out)
	fmt.Fprint(s.out, dim+out.String()+plain+"\n")
}

// tell answers a command, with words whole.
func (s *session) tell(format string, args ...any) { s.tellRow("", format, args...) }

// tellRow answers with a row of a table, whose text hangs behind its name.
func (s *session) tellRow(name, format string, args ...any) {
	var out strings.Builder
	w := wrapper{width: s.width(), hang: strings.Repeat(" ", len(name))}
	w.verbatim(&out, name)
	w.text(&out, fmt.Sprintf(format, args...))
	w.newline(&out)
	fmt.Fprint(s.out, out.String())
}

// width is the terminal's, nil where there is none.
func (s *session) width() func() int {
	if !s.terminal {
		return nil
	}
	return func() int { return columns(s.out) }
}

func (s *session) reset(system string) {
	s.system, s.messages, s.last = system, systemMessage(system), Usage{}
}
