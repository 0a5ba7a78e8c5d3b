package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// completeOptions are the flags of complete alone.
type completeOptions struct {
	Raw    bool   `flag:"raw" help:"go on with the text as it stands, without the model's chat template"`
	System string `flag:"system" value:"TEXT" help:"system message before the prompt"`
	JSON   bool   `flag:"json" help:"print one JSON object at the end instead of the text as it comes"`
}

func newComplete() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	var options completeOptions
	cmd := &cobra.Command{
		Use:   "complete [flags] [PROMPT…]",
		Short: "Print one reply to a prompt",
		Long: `Complete prints the reply to a prompt: the arguments, what is piped into standard input,
or both, with an empty line between. The reply goes to standard output as it comes,
everything else to standard error.`,
		Example: `  troupe complete "Tell me a story about a fox"
  troupe complete --raw "Once upon a time" --max-tokens 50
  git diff | troupe complete --url localhost:1919 "Summarise this change:"`,
	}
	sections := append([]section{{"Prompt and output", &options}, {"Sampling", &cfg.Sampling}, {"Server", &cfg.Remote}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg.check(found)
		if options.Raw && options.System != "" {
			found.add("--system needs the chat template that --raw leaves out")
		}
		if err := found.err(); err != nil {
			return err
		}
		prompt, err := options.prompt(args, cmd.InOrStdin())
		if err != nil {
			return err
		}
		return complete(cmd, cfg, &options, prompt)
	}
	return cmd
}

// prompt makes a prompt of the arguments and of what is piped in.
func (o *completeOptions) prompt(args []string, in io.Reader) (Prompt, error) {
	text := strings.Join(args, " ")
	switch {
	case piped(in) || len(args) == 0 && !isTerminal(in):
		data, err := io.ReadAll(in)
		if err != nil {
			return Prompt{}, err
		}
		read := string(data)
		if !o.Raw {
			read = strings.TrimSpace(read)
		}
		if text != "" && read != "" {
			text += "\n\n"
		}
		text += read
	case len(args) == 0:
		return Prompt{}, &usageError{errors.New("there is no prompt: give it as an argument or on standard input")}
	}
	if text == "" {
		return Prompt{}, &usageError{errors.New("the prompt is empty")}
	}
	if o.Raw {
		return Prompt{Text: text}, nil
	}
	return Prompt{Messages: append(systemMessage(o.System), Message{"user", text})}, nil
}

// piped reports whether something is meant to be read: a pipe or a file, not
// what a program started by another merely inherits, such as /dev/null.
func piped(in io.Reader) bool {
	file, is := in.(*os.File)
	if !is {
		return true
	}
	info, err := file.Stat()
	return err == nil && (info.Mode().IsRegular() || info.Mode()&os.ModeNamedPipe != 0)
}

// systemMessage begins a conversation.
func systemMessage(text string) []Message {
	if text == "" {
		return nil
	}
	return []Message{{"system", text}}
}

func complete(cmd *cobra.Command, cfg *Config, o *completeOptions, p Prompt) (err error) {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	c, err := connect(cmd, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()

	out := bufio.NewWriter(cmd.OutOrStdout())
	var broken error // what went wrong writing; a pipe's reader that left ends the program by SIGPIPE
	reply, err := c.generate(ctx, p, &cfg.Sampling, func(text string) {
		if o.JSON || broken != nil {
			return
		}
		if _, broken = out.WriteString(text); broken == nil {
			broken = out.Flush()
		}
		if broken != nil {
			cancel()
		}
	}, nil)
	switch {
	case broken != nil:
		return broken
	case ctx.Err() != nil:
		fmt.Fprintln(cmd.OutOrStdout())
		return ctx.Err()
	case err != nil:
		return err
	case o.JSON:
		return printJSON(cmd.OutOrStdout(), reply)
	case !strings.HasSuffix(reply.Text, "\n"):
		_, err = fmt.Fprintln(cmd.OutOrStdout())
	}
	return err
}
