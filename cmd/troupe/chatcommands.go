package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/reeflective/readline"
	"github.com/spf13/pflag"
)

var chatCommands = []struct{ name, args, help string }{
	{"/help", "", "list these"},
	{"/show", "", "show the model, the settings and how long the conversation is"},
	{"/history", "", "show the conversation"},
	{"/regenerate", "", "another reply in place of the last"},
	{"/clear", "", "forget the conversation, keep the system message"},
	{"/system", "[TEXT]", "show the system message, or set it and begin anew; - removes it"},
	{"/set", "[NAME VALUE]", "show or change sampling: temperature, top-p, top-k, min-p, seed, max-tokens, stop"},
	{"/save", "FILE", "write the conversation to a file, as JSON"},
	{"/load", "FILE", "go on with a conversation that was saved"},
	{"/exit", "", "leave; so does Ctrl-D"},
}

// command carries out a line that begins with a slash.
func (s *session) command(ctx context.Context, line string) (leave bool, err error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "/help":
		for _, c := range chatCommands {
			s.tellRow(fmt.Sprintf("  %-22s ", strings.TrimSpace(c.name+" "+c.args)), "%s", c.help)
		}
	case "/show":
		s.show()
	case "/regenerate":
		return false, s.regenerate(ctx)
	case "/clear", "/reset":
		s.reset(s.system)
		s.note("the conversation begins anew")
	case "/system":
		s.setSystem(rest)
	case "/set":
		s.set(rest)
	case "/save":
		s.save(rest)
	case "/load":
		s.load(rest)
	case "/history":
		for _, m := range s.messages {
			s.tell("%s: %s", m.Role, m.Content)
		}
	case "/exit", "/quit", "/bye":
		return true, nil
	default:
		s.tell("there is no command %s%s", name, didYouMean(closest(name, commandNames())))
	}
	return false, nil
}

func commandNames() (names []string) {
	for _, c := range chatCommands {
		names = append(names, c.name)
	}
	return names
}

// show tells what is talked to and how.
func (s *session) show() {
	where := "in this process"
	if s.client.remote {
		where = "at " + s.client.base
	}
	s.tell("model     %s %s", s.client.model, where)
	if s.system != "" {
		s.tellRow("system    ", "%s", s.system)
	}
	tokens := ""
	if n := s.last.PromptTokens + s.last.CompletionTokens; n > 0 {
		tokens = ", " + plural(n, "token")
	}
	s.tell("so far    %s%s", plural(len(s.messages), "message"), tokens)
	s.set("")
}

// regenerate asks again what was asked last.
func (s *session) regenerate(ctx context.Context) error {
	asked := s.messages
	if n := len(asked); n > 0 && asked[n-1].Role == "assistant" {
		asked = asked[:n-1]
	}
	if n := len(asked); n == 0 || asked[n-1].Role != "user" {
		s.tell("nothing was asked yet")
		return nil
	}
	if s.sampling.Seed != nil {
		s.note("the seed is %d, so the reply may be the same; /set seed changes it", *s.sampling.Seed)
	}
	return s.answer(ctx, asked)
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

// settings are the sampling flags, by the flags' own rules.
func (s *session) settings() (*pflag.FlagSet, *faults) {
	flags, found := pflag.NewFlagSet("", pflag.ContinueOnError), &faults{}
	flags.SortFlags = false
	addSection(flags, s.sampling, found)
	return flags, found
}

// set shows or changes one of the settings.
func (s *session) set(text string) {
	flags, found := s.settings()
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
		s.tell("there is no setting %s%s", name, didYouMean(closest(name, flagsOf(flags))))
		return
	}
	if err := errors.Join(flags.Set(name, strings.TrimSpace(value)), found.err()); err != nil {
		s.tell("%s", strings.TrimPrefix(err.Error(), "--"))
	}
}

func flagsOf(set *pflag.FlagSet) (names []string) {
	set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// completions are what Tab offers: commands, settings, files.
func (s *session) completions(before string) readline.Completions {
	name, rest, hasRest := strings.Cut(before, " ")
	switch {
	case !strings.HasPrefix(before, "/"):
		return readline.CompleteValues()
	case !hasRest:
		var described []string
		for _, c := range chatCommands {
			described = append(described, c.name, c.help)
		}
		return readline.CompleteValuesDescribed(described...)
	case name == "/set" && !strings.Contains(rest, " "):
		flags, _ := s.settings()
		return readline.CompleteValues(flagsOf(flags)...)
	case name == "/save" || name == "/load":
		return readline.CompleteValues(s.files(rest)...).NoSpace('/')
	}
	return readline.CompleteValues()
}

// files are those whose names begin so, and directories.
func (s *session) files(begin string) (names []string) {
	found, err := filepath.Glob(s.env.expand(begin) + "*")
	if err != nil { // a name that is no pattern
		return nil
	}
	home := s.env.home()
	for _, name := range found {
		if isDir(name) {
			name += "/"
		}
		if strings.HasPrefix(begin, "~") {
			name = "~" + strings.TrimPrefix(name, home)
		}
		names = append(names, name)
	}
	return names
}
