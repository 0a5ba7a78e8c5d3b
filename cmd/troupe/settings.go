package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

// A flag's value comes from the first of these that has it: the command line,
// the environment, the file that --config names, the default. What is wrong in
// either is told with all other faults, each with where it stands.

// settingsFile is the flag that every command has.
type settingsFile struct {
	Config string `flag:"config" value:"FILE" help:"YAML file of flags, such as \"port: 8000\"; the environment (TROUPE_PORT=8000) comes before it, flags before both"`
}

// environ is the environment, read once by main.
type environ map[string]string

func readEnviron() environ {
	e := environ{}
	for _, pair := range os.Environ() {
		if name, value, ok := strings.Cut(pair, "="); ok {
			e[name] = value
		}
	}
	return e
}

type environKey struct{}

// environOf is the environment of a command that runs.
func environOf(ctx context.Context) environ {
	e, _ := ctx.Value(environKey{}).(environ)
	return e
}

const (
	envPrefix = "TROUPE_"
	// heirs are told by this variable which descriptor listens, and how many
	// processes before them ended soon: "3 1". See restart_unix.go.
	inheritance = envPrefix + "LISTENER"
)

// envName is what a flag is called in the environment: TROUPE_MAX_SEQ_LEN.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applySettings fills in the flags that the command line does not name. Faults
// go to those of the command's flags, which the command looks at before it
// begins.
func applySettings(cmd *cobra.Command, _ []string) error {
	file, ok := flagOf(cmd, "config")
	if !ok { // a command of the library's own
		return nil
	}
	s := &settings{cmd: cmd, found: file.found, set: map[string]bool{}}
	cmd.Flags().Visit(func(f *pflag.Flag) { s.set[f.Name] = true })
	s.fromEnviron(environOf(cmd.Context()))
	if name := file.String(); name != "" {
		s.fromFile(name)
	}
	return nil
}

// flagOf is a flag that was made of a field of the type of its own.
func flagOf(cmd *cobra.Command, name string) (*flagValue, bool) {
	f := cmd.Flags().Lookup(name)
	if f == nil {
		return nil, false
	}
	v, ok := f.Value.(*flagValue)
	return v, ok
}

// settings are values on their way to a command's flags.
type settings struct {
	cmd   *cobra.Command
	found *faults
	set   map[string]bool // flags that have their value
}

// put gives a flag its values, more than one only for a list.
func (s *settings) put(flag, origin string, values ...string) {
	s.set[flag] = true
	s.found.came(flag, origin)
	f := s.cmd.Flags().Lookup(flag)
	for _, value := range values {
		if err := f.Value.Set(value); err != nil {
			s.found.add("--%s is %q: %w", flag, value, err)
		}
	}
}

// fromEnviron takes TROUPE_ variables. An empty one is not given, and a list
// has one value a line. Other programs may have variables of such names, but
// one that is nearly a flag's is a slip.
func (s *settings) fromEnviron(env environ) {
	known := append(flagNames(s.cmd.Root()), "config")
	var names []string
	for name := range env {
		if strings.HasPrefix(name, envPrefix) && name != inheritance {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "_", "-"))
		value := env[name]
		switch {
		case value == "":
		case !slices.Contains(known, flag):
			if meant := meantFlag(flag, known); meant != "" {
				s.found.add("%s in the environment is no flag%s", name, didYouMean(envName(meant)))
			}
		case s.cmd.Flags().Lookup(flag) == nil || s.set[flag]: // another command's, or told already
		case strings.HasPrefix(value, "tcp://"):
			s.found.add("%s is %q, which Kubernetes sets for a service named troupe: set enableServiceLinks to false in the pod, or name the service otherwise", name, value)
		case isList(s.cmd.Flags().Lookup(flag)):
			s.put(flag, name, strings.Split(strings.TrimRight(value, "\n"), "\n")...)
		default:
			s.put(flag, name, value)
		}
	}
}

// isList reports whether a flag may be repeated.
func isList(f *pflag.Flag) bool {
	v, ok := f.Value.(*flagValue)
	return ok && v.list()
}

// flagNames are the flags of a command and of all below it.
func flagNames(cmd *cobra.Command) (names []string) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" {
			names = append(names, f.Name)
		}
	})
	for _, c := range cmd.Commands() {
		for _, name := range flagNames(c) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// fromFile takes what the file says: flags of any command at its top, and those
// of one command under the command's name, which come first.
func (s *settings) fromFile(name string) {
	root, err := parseYAML(name)
	if err != nil {
		s.found.add("--config: %w", err)
		return
	}
	if root == nil { // an empty file
		return
	}
	f := &file{settings: s, name: name, chosen: map[string]*yaml.Node{}, depth: map[string]int{}}
	f.section(root, s.cmd.Root(), 1, true)
	f.apply()
}

// parseYAML is the one document of a file, nil when it has none.
func parseYAML(name string) (*yaml.Node, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	decoder := yaml.NewDecoder(in)
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s:%d: there is a second document, want one", name, max(second.Line, document.Line))
	}
	return document.Content[0], nil
}

// file is a file of settings while it is read.
type file struct {
	*settings
	name   string
	chosen map[string]*yaml.Node // by flag: the deepest section's
	depth  map[string]int        // of chosen
}

func (f *file) fault(at *yaml.Node, format string, args ...any) {
	f.found.add("%s:%d: %s", f.name, at.Line, fmt.Sprintf(format, args...))
}

// section takes a command's part of the file. It is checked whole, but only
// what is of the running command or above it is used.
func (f *file) section(node *yaml.Node, cmd *cobra.Command, depth int, used bool) {
	if node.Kind != yaml.MappingNode {
		f.fault(node, "there is %s, want flags and their values, such as port: 8000", kindOf(node))
		return
	}
	flags := flagNames(cmd)
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		sub := subcommand(cmd, key.Value)
		switch {
		case seen[key.Value]:
			f.fault(key, "%s is there twice", key.Value)
		case sub != nil && (value.Kind == yaml.MappingNode || !slices.Contains(flags, key.Value)):
			f.section(value, sub, depth+1, used && isWithin(f.cmd, sub))
		case !slices.Contains(flags, key.Value):
			f.unknown(key, cmd, flags)
		case used && f.cmd.Flags().Lookup(key.Value) != nil && depth > f.depth[key.Value]:
			f.chosen[key.Value], f.depth[key.Value] = value, depth
		}
		seen[key.Value] = true
	}
}

// unknown says what a key may have been meant for.
func (f *file) unknown(key *yaml.Node, cmd *cobra.Command, flags []string) {
	of, names := "no command", slices.Clone(flags)
	if cmd.HasParent() {
		of = cmd.CommandPath() + " has no flag or command"
	} else {
		of += " has a flag"
	}
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if text := instead(key.Value, names); text != "" {
		f.fault(key, "%s %q: %s", of, key.Value, text)
		return
	}
	f.fault(key, "%s %q%s", of, key.Value, didYouMean(meantFlag(key.Value, names)))
}

// apply gives the flags their values, in the flags' order.
func (f *file) apply() {
	f.cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		node := f.chosen[flag.Name]
		if node == nil || f.set[flag.Name] {
			return
		}
		origin := fmt.Sprintf("%s:%d", f.name, node.Line)
		switch {
		case node.Kind == yaml.ScalarNode && node.Tag != "!!null":
			f.put(flag.Name, origin, node.Value)
		case node.Kind == yaml.SequenceNode && isList(flag):
			f.put(flag.Name, origin, f.scalars(flag.Name, node)...)
		case node.Kind == yaml.SequenceNode:
			f.fault(node, "%s takes one value, not a list", flag.Name)
		default:
			f.fault(node, "%s is %s, want a value", flag.Name, kindOf(node))
		}
	})
}

// scalars are the values of a list.
func (f *file) scalars(flag string, list *yaml.Node) (values []string) {
	for _, node := range list.Content {
		if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
			f.fault(node, "%s has %s in its list, want values", flag, kindOf(node))
			continue
		}
		values = append(values, node.Value)
	}
	return values
}

func kindOf(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if node.Tag == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%q", node.Value)
}

// subcommand is a command's command of that name, nil if there is none.
func subcommand(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// isWithin reports whether a command is another or below it.
func isWithin(cmd, above *cobra.Command) bool {
	for ; cmd != nil; cmd = cmd.Parent() {
		if cmd == above {
			return true
		}
	}
	return false
}
