package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newChat() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	var options struct {
		System   string `flag:"system" value:"TEXT" help:"system message at the conversation's beginning"`
		Markdown bool   `flag:"markdown" help:"show Markdown as it is meant, on a terminal; --markdown=false shows its marks"`
	}
	options.Markdown = true
	cmd := &cobra.Command{
		Use:   "chat [flags]",
		Short: "Talk to a model in the terminal",
		Long: `Chat talks to a server, or to a model that it loads itself. A line ending in a backslash
goes on in the next; three quotes (""") begin and end a text of many lines. Ctrl-C stops
a reply, Ctrl-D leaves. /help lists what else can be done.`,
		Example: `  troupe chat
  troupe chat --url http://127.0.0.1:1919 --system "Answer in one sentence."`,
		Args: noArgs,
	}
	sections := append([]section{{"Conversation", &options}, {"Sampling", &cfg.Sampling}, {"Server", &cfg.Remote}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if cfg.check(found); found.err() != nil {
			return found.err()
		}
		c, err := connect(cmd, cfg)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		lines := newLineReader(cmd.InOrStdin(), cmd.OutOrStdout())
		s := &session{client: c, sampling: &cfg.Sampling, in: lines, out: cmd.OutOrStdout(), terminal: lines.terminal()}
		s.styled = s.terminal && options.Markdown
		s.reset(options.System)
		return s.run(cmd.Context())
	}
	return cmd
}

// session is a conversation in the terminal.
type session struct {
	client   *client
	sampling *Sampling
	in       *lineReader
	out      io.Writer
	terminal bool // prompts, colours, reasoning and figures are for people
	styled   bool // and so is what Markdown means

	system   string
	messages []Message
}

const (
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

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
		case strings.HasPrefix(text, "/"):
			if leave := s.command(text); leave {
				return nil
			}
		default:
			if err := s.say(ctx, text); err != nil {
				return err
			}
		}
	}
}

// say sends what the user said and shows the reply. It fails only when the
// program was asked to end, or, without a user to read it, with any error.
func (s *session) say(ctx context.Context, text string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	asked := append(s.messages[:len(s.messages):len(s.messages)], Message{"user", text})
	v := &voice{out: s.out, styled: s.styled}
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
	s.messages = append(asked, Message{"assistant", reply.Text})
	return nil
}

// voice writes a reply: reasoning, dimmed, then the text.
type voice struct {
	out      io.Writer
	styled   bool
	markdown markdown
	thinking bool
}

func (v *voice) think(text string) {
	if !v.thinking {
		v.thinking = true
		fmt.Fprint(v.out, dim)
	}
	fmt.Fprint(v.out, text)
}

func (v *voice) say(text string) {
	v.stopThinking("\n\n")
	if v.styled {
		text = v.markdown.add(text)
	}
	fmt.Fprint(v.out, text)
}

func (v *voice) stopThinking(gap string) {
	if v.thinking {
		v.thinking = false
		fmt.Fprint(v.out, plain+gap)
	}
}

// end leaves the terminal plain and in a new line.
func (v *voice) end() {
	v.stopThinking("")
	fmt.Fprintln(v.out, v.markdown.end())
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

// note tells the user something that is not part of the conversation.
func (s *session) note(format string, args ...any) {
	if s.terminal {
		fmt.Fprintf(s.out, dim+format+plain+"\n", args...)
	}
}

// tell answers a command.
func (s *session) tell(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *session) reset(system string) {
	s.system, s.messages = system, systemMessage(system)
}

var chatCommands = []struct{ name, args, help string }{
	{"/help", "", "list these"},
	{"/reset", "", "forget the conversation, keep the system message"},
	{"/system", "[TEXT]", "show the system message, or set it and begin anew; - removes it"},
	{"/set", "[NAME VALUE]", "show or change sampling: temperature, top-p, top-k, min-p, seed, max-tokens, stop"},
	{"/history", "", "show the conversation"},
	{"/exit", "", "leave; so does Ctrl-D"},
}

// command carries out a line that begins with a slash.
func (s *session) command(line string) (leave bool) {
	name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "/help":
		for _, c := range chatCommands {
			s.tell("  %-22s %s", strings.TrimSpace(c.name+" "+c.args), c.help)
		}
	case "/reset":
		s.reset(s.system)
		s.note("the conversation begins anew")
	case "/system":
		s.setSystem(rest)
	case "/set":
		s.set(rest)
	case "/history":
		for _, m := range s.messages {
			s.tell("%s: %s", m.Role, m.Content)
		}
	case "/exit", "/quit", "/bye":
		return true
	default:
		var names []string
		for _, c := range chatCommands {
			names = append(names, c.name)
		}
		s.tell("there is no command %s%s", name, didYouMean(closest(name, names)))
	}
	return false
}

func (s *session) setSystem(text string) {
	switch text {
	case "":
		s.tell("system message: %q", s.system)
		return
	case "-":
		text = ""
	}
	s.reset(text)
	s.note("the conversation begins anew")
}

// set changes one of the sampling flags, by the flags' own rules.
func (s *session) set(text string) {
	flags, found := pflag.NewFlagSet("", pflag.ContinueOnError), &faults{}
	flags.SortFlags = false
	addSection(flags, s.sampling, found)
	if text == "" {
		flags.VisitAll(func(f *pflag.Flag) {
			value := f.Value.String()
			if value == "" {
				value = "(default)"
			}
			s.tell("  %-12s %s", f.Name, value)
		})
		return
	}
	name, value, _ := strings.Cut(text, " ")
	if flags.Lookup(name) == nil {
		var names []string
		flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		s.tell("there is no setting %s%s", name, didYouMean(closest(name, names)))
		return
	}
	if err := errors.Join(flags.Set(name, strings.TrimSpace(value)), found.err()); err != nil {
		s.tell("%s", strings.TrimPrefix(err.Error(), "--"))
	}
}
