package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a mistake on the command line: exit status 2.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// explainFlag says what was meant when flags are unknown, all that are, or when
// one lacks its value.
func explainFlag(cmd *cobra.Command, args []string, err error) error {
	var unknown *pflag.NotExistError
	var lacking *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		return &usageError{unknownFlags(cmd, args, unknown)}
	case errors.As(err, &lacking):
		f := lacking.GetFlag()
		return &usageError{fmt.Errorf("--%s lacks its value: --%s %s", f.Name, f.Name, f.Value.Type())}
	}
	return &usageError{err}
}

// unknownFlags tells of the flag at which parsing stopped, and of the others
// that would stop it.
func unknownFlags(cmd *cobra.Command, args []string, first *pflag.NotExistError) error {
	if first.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("%s has no flag -%s", cmd.CommandPath(), first.GetSpecifiedName())
	}
	var told []string
	var all []error
	for _, arg := range append([]string{"--" + first.GetSpecifiedName()}, args...) {
		name, is := strings.CutPrefix(arg, "--")
		if is && name == "" { // what follows are no flags
			break
		}
		name, _, _ = strings.Cut(name, "=")
		if is && cmd.Flags().Lookup(name) == nil && !slices.Contains(told, name) {
			told = append(told, name)
			all = append(all, unknownFlag(cmd, name))
		}
	}
	return errors.Join(all...)
}

func unknownFlag(cmd *cobra.Command, name string) error {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if text := instead(name, names); text != "" {
		return fmt.Errorf("%s has no flag --%s: %s", cmd.CommandPath(), name, text)
	}
	meant := meantFlag(name, names)
	if meant != "" {
		meant = "--" + meant
	}
	return fmt.Errorf("%s has no flag --%s%s", cmd.CommandPath(), name, didYouMean(meant))
}

// instead says of a flag that others have, and none of the names is, what there is in its place; "" is nothing.
func instead(name string, names []string) string {
	name = dashed(name)
	if other, _, _ := strings.Cut(elsewhere[name], "="); slices.Contains(names, other) {
		return ""
	}
	for _, row := range absent {
		if regexp.MustCompile(row.names).MatchString(name) {
			return row.text
		}
	}
	return ""
}

// meantFlag is the one of the names that was meant: by what others call it, or
// by its letters.
func meantFlag(name string, names []string) string {
	other, value, _ := strings.Cut(elsewhere[dashed(name)], "=")
	switch {
	case !slices.Contains(names, other):
		return closest(dashed(name), names)
	case value != "":
		return other + "=" + value
	}
	return other
}

// dashed is a name as flags are written here.
func dashed(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "-")) }

// needCommand runs a command that only has commands: it lists them, or says
// which one was meant.
func needCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return &usageError{fmt.Errorf("%s has no command %q%s", cmd.CommandPath(), args[0], didYouMean(closest(args[0], names)))}
}

// noArgs rejects arguments and guesses which flag they belong to.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := ""
	switch arg := args[0]; {
	case arg == "true" || arg == "false":
		meant = "--FLAG=" + arg + " (with an equals sign)"
	case cmd.Flags().Lookup("model") != nil:
		meant = "--model " + arg
	}
	return &usageError{fmt.Errorf("%s takes no arguments, but there is %q%s", cmd.CommandPath(), args[0], didYouMean(meant))}
}

func didYouMean(what string) string {
	if what == "" {
		return ""
	}
	return ": did you mean " + what + "?"
}

// oneOf lists choices as a sentence does: "a, b or c".
func oneOf(choices []string) string {
	last := len(choices) - 1
	if last == 0 {
		return choices[0]
	}
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}

// closest is the candidate most like the text, or "" if none is like it: at
// most a third of its letters differ, or one begins the other. What goes on behind
// a dash is another thing.
func closest(text string, candidates []string) string {
	best, least := "", len(text)+1
	for _, c := range candidates {
		d := distance(strings.ToLower(text), c)
		if len(text) >= 3 && (strings.HasPrefix(c, text) || strings.HasPrefix(text, c) && text[len(c):][0] != '-') {
			d = min(d, 1)
		}
		if d < least && d <= max(1, max(len(text), len(c))/3) {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
