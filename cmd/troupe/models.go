package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/hub"
)

// Listed is a model that list tells of.
type Listed struct {
	Name   string    `json:"name"` // what --model takes
	Commit string    `json:"commit,omitempty"`
	Refs   []string  `json:"refs,omitempty"`
	Dir    string    `json:"directory,omitempty"`
	Bytes  int64     `json:"bytes"`
	Time   time.Time `json:"modified,omitzero"`
	Family string    `json:"family,omitempty"` // "" when it cannot be run
	Why    string    `json:"why,omitempty"`    // it cannot
}

func newList() *cobra.Command {
	var options struct {
		JSON bool `flag:"json" help:"print JSON"`
	}
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the models that are here",
		Long: `List tells which models are in Hugging Face's cache, where pull and other programs put
them, and which of them can be run. HF_HOME and HF_HUB_CACHE place the cache.`,
		Args: noArgs,
	}
	found := bind(cmd, section{"Output", &options})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := found.err(); err != nil {
			return err
		}
		env, err := environOf(cmd.Context()).hub()
		if err != nil {
			return err
		}
		all, err := listModels(env.Cache)
		if err != nil {
			return err
		}
		if options.JSON {
			return printJSON(cmd.OutOrStdout(), all)
		}
		return printModels(cmd.OutOrStdout(), all, time.Now())
	}
	return cmd
}

// listModels are the models of a cache, and the built-in one.
func listModels(cache string) ([]Listed, error) {
	found, err := hub.List(cache)
	if err != nil {
		return nil, err
	}
	all := []Listed{{Name: model.Builtin}}
	for _, s := range found {
		l := Listed{Name: s.Repo, Commit: s.Commit, Refs: s.Refs, Dir: s.Dir, Bytes: s.Bytes, Time: s.Time}
		switch {
		case len(s.Refs) == 0:
			l.Name += ":" + s.Commit
		case s.Refs[0] != "main":
			l.Name += ":" + s.Refs[0]
		}
		inFiles, err := ggufsOf(&s, &l)
		if err != nil {
			return nil, err
		}
		if all = append(all, inFiles...); len(inFiles) > 0 && !s.Runs() {
			continue
		}
		if !s.Runs() {
			l.Why = "without " + s.Missing[0]
		}
		all = append(all, l)
	}
	for i := range all {
		if l := &all[i]; l.Why == "" {
			l.Family, l.Why = familyOf(l)
		}
	}
	return all, nil
}

// ggufsOf are the models of a snapshot in GGUF files, each by its quantisation where
// that names it.
func ggufsOf(s *hub.Snapshot, whole *Listed) (list []Listed, err error) {
	all, err := s.GGUFs()
	for _, g := range all {
		l := *whole
		l.Dir, l.Bytes = filepath.Join(s.Dir, filepath.FromSlash(g.Files[0])), g.Bytes
		if l.Name = s.Repo + prefixed(":", g.Quantisation); g.Quantisation == "" || !slices.Contains(s.Refs, "main") {
			l.Name = l.Dir
		}
		list = append(list, l)
	}
	return list, err
}

// familyOf says what a model is, or why it cannot be run.
func familyOf(l *Listed) (family, why string) {
	spec := l.Dir
	if spec == "" {
		spec = l.Name
	}
	m, err := model.Open(spec, true)
	if err != nil {
		why, _, _ = strings.Cut(strings.ReplaceAll(err.Error(), l.Dir+"/", ""), "\n")
		return "", why
	}
	return m.Config.Architecture, ""
}

func printModels(w io.Writer, all []Listed, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "MODEL\tSIZE\tMODIFIED\tFAMILY")
	for _, l := range all {
		size, age, family := "inside", "", l.Family
		if l.Dir != "" {
			size, age = bytesText(l.Bytes), ageText(now.Sub(l.Time))
		}
		if l.Why != "" {
			family = "cannot be run: " + l.Why
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Name, size, age, family)
	}
	return t.Flush()
}

// ageText is how long ago something was, as people say it.
func ageText(d time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int(d / unit.of); n > 1 {
			return fmt.Sprintf("%d %ss ago", n, unit.name)
		} else if n == 1 {
			return fmt.Sprintf("1 %s ago", unit.name)
		}
	}
	return "now"
}

// bytesText is a size in the unit that suits it.
func bytesText(n int64) string {
	size, units := float64(n), []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	i := -1
	for size >= 1024 && i < len(units)-1 {
		size /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %s", size, units[i])
}

func newRemove() *cobra.Command {
	var options struct {
		Yes bool `flag:"yes,y" help:"do not ask"`
	}
	cmd := &cobra.Command{
		Use: "rm [flags] OWNER/NAME[:REVISION|:QUANTISATION]", Short: "Remove a model from the cache",
		Long: `Rm removes a model from Hugging Face's cache, where other programs find it, too: all of
its revisions, or the one that is named and what no other needs of it.`,
		Example:           "  troupe rm Qwen/Qwen3-0.6B",
		Args:              modelArg,
		ValidArgsFunction: completeCached,
	}
	found := bind(cmd, section{"Removing", &options})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := checkName(args[0], found)
		if !options.Yes && !isTerminal(cmd.InOrStdin()) {
			found.add("nobody is there to ask whether to remove %s: --yes says so", args[0])
		}
		if err := found.err(); err != nil {
			return err
		}
		env, err := environOf(cmd.Context()).hub()
		if err != nil {
			return err
		}
		if !options.Yes && !ask(cmd, "Remove %s from %s, where other programs find it, too?", name, env.Cache) {
			return errors.New("nothing was removed")
		}
		remove := func() (int64, error) { return hub.Remove(env.Cache, name.repo, name.revision) }
		if name.gguf != "" {
			remove = func() (int64, error) { return hub.RemoveGGUF(env.Cache, name.repo, "main", name.gguf) }
		}
		freed, err := remove()
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no %s in %s; troupe list tells what there is", name, env.Cache)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s: %s\n", name, bytesText(freed))
		return err
	}
	return cmd
}

// ask puts a question to who sits at the terminal.
func ask(cmd *cobra.Command, format string, args ...any) bool {
	fmt.Fprintf(cmd.ErrOrStderr(), format+" [y/N] ", args...)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return err == nil && (answer == "y" || answer == "yes")
}

// cachedNames are the models of the cache as --model takes them, for shells.
func cachedNames(env environ) (names []string) {
	c, err := env.hub()
	if err != nil {
		return nil
	}
	all, err := hub.List(c.Cache)
	if err != nil {
		return nil
	}
	for _, s := range all {
		inFiles, err := ggufsOf(&s, &Listed{})
		for _, l := range inFiles {
			names = append(names, l.Name)
		}
		if err != nil || len(inFiles) > 0 && !s.Runs() {
			continue
		}
		if len(names) == 0 || names[len(names)-1] != s.Repo {
			names = append(names, s.Repo)
		}
	}
	return names
}

func completeCached(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return cachedNames(environOf(cmd.Context())), cobra.ShellCompDirectiveNoFileComp
}
