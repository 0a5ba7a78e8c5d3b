// Command troupe serves large language models.
//
// main.go lists the commands, each in a file of its own name. config.go is
// everything that can be set, flags.go makes flags of it, settings.go fills in
// those that the environment or a file gives, and suggest.go says what was meant
// when a flag is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/troupe-llm/troupe/bench"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], standard())) }

// stdio is what a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	env      environ
}

func standard() stdio { return stdio{os.Stdin, os.Stdout, os.Stderr, readEnviron()} }

// run is the program without the process: it returns the exit status, 0 when
// all went well, 2 when the command line is wrong, 130 when interrupted, else 1.
func run(ctx context.Context, args []string, io stdio) int {
	root := newRoot(io)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return explainFlag(cmd, args, err) })
	cmd, err := root.ExecuteContextC(context.WithValue(ctx, environKey{}, io.env))
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) {
		if stopped := new(bench.Interrupted); errors.As(err, &stopped) { // there is more to say than ^C does
			fmt.Fprintf(io.err, "troupe: %v\n", err)
		}
		return 130
	}
	var misuse *usageError
	if errors.As(err, &misuse) {
		fmt.Fprintf(io.err, "troupe: %v\nSee %s --help.\n", err, cmd.CommandPath())
		return 2
	}
	fmt.Fprintf(io.err, "troupe: %v\n", err)
	return 1
}

func newRoot(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "troupe COMMAND",
		Short: "Serve large language models",
		Long: `Troupe serves large language models: it loads a Hugging Face checkpoint, or the
small model inside this program, and speaks the OpenAI API over HTTP.`,
		Example: `  troupe serve                            the built-in model at http://127.0.0.1:1919
  troupe serve --model Qwen/Qwen3-0.6B --host 0.0.0.0
  troupe chat                             talk to it in the terminal
  troupe run Qwen/Qwen3-0.6B              talk to a model from Hugging Face
  troupe complete "Tell me a story about a fox"
  troupe doctor                           what would run here, and why`,
		Version:               thisBuild().String(),
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		RunE:                  needCommand,
		PersistentPreRunE:     applySettings,
		SilenceErrors:         true,
		SilenceUsage:          true,
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetUsageFunc(func(cmd *cobra.Command) error { return usage(cmd, nil) })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newServe(), newChat(), newRun(), newComplete(), newBench(), newTokenize(),
		newPull(), newList(), newShow(), newRemove(), newDoctor(), newVersion(),
	)
	root.InitDefaultHelpCmd() // "troupe help serve" works, like "troupe serve --help"
	for _, c := range root.Commands() {
		c.Hidden = c.Name() == "help"
	}
	return root
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// columns is how wide a terminal is, rows how high; 0 for what is none.
func columns(f any) int { width, _ := terminalSize(f); return width }
func rows(f any) int    { _, height := terminalSize(f); return height }

func terminalSize(f any) (width, height int) {
	if !isTerminal(f) {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.(*os.File).Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// interruptible is the context of a command that Ctrl-C ends; a second one ends
// the program, whatever it is doing.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, stopSignals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
