package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// What release/ starts the program with are flags that it has, with values that it
// takes.
func TestReleaseStartsTheProgramThatThereIs(t *testing.T) {
	unit := read(t, "release/troupe.service")
	started := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/troupe serve (.+)$`).FindStringSubmatch(unit)
	if started == nil {
		t.Fatal("troupe.service starts something else")
	}
	image := regexp.MustCompile(`(?m)^ENTRYPOINT (.+)$`).FindStringSubmatch(read(t, "release/Containerfile"))
	if image == nil {
		t.Fatal("the container's image starts nothing")
	}
	var entry []string
	parse(t, image[1], &entry)
	var compose struct {
		Services map[string]struct{ Command []string }
	}
	parse(t, read(t, "release/compose.yaml"), &compose)
	deployment := kubernetes(t)
	container := deployment.Spec.Template.Spec.Containers[0]
	for file, args := range map[string][]string{
		"troupe.service":  strings.Fields(started[1]),
		"Containerfile":   entry[2:],
		"compose.yaml":    compose.Services["troupe"].Command,
		"kubernetes.yaml": container.Args,
	} {
		if len(args) == 0 {
			t.Errorf("%s: no flags", file)
		}
		if err := newServe().ParseFlags(args); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// The example for Kubernetes waits for what the program does when it ends, and
// asks for what it serves.
func TestReleaseProbes(t *testing.T) {
	deployment := kubernetes(t)
	pod := deployment.Spec.Template.Spec
	serve := newServe()
	if err := serve.ParseFlags(pod.Containers[0].Args); err != nil {
		t.Fatal(err)
	}
	ending := time.Duration(0)
	for _, flag := range []string{"lame-duck", "drain-timeout"} {
		d, err := time.ParseDuration(serve.Flags().Lookup(flag).Value.String())
		if err != nil {
			t.Fatal(err)
		}
		ending += d
	}
	if grace := time.Duration(pod.TerminationGracePeriodSeconds) * time.Second; grace <= ending {
		t.Errorf("the pod is killed %v after SIGTERM, and may take %v to end", grace, ending)
	}
	routes := read(t, "../../http/routes.go")
	for _, probe := range []string{pod.Containers[0].LivenessProbe.HTTPGet.Path, pod.Containers[0].ReadinessProbe.HTTPGet.Path} {
		if !strings.Contains(routes, `"`+probe+`"`) {
			t.Errorf("there is no route %q", probe)
		}
	}
}

// The service's settings are a file that the program reads, and what nfpm packs and
// the container copies is what release.sh makes or the repository has.
func TestReleasePacksWhatThereIs(t *testing.T) {
	script := read(t, "release/release.sh")
	var pack struct{ Contents []struct{ Src string } }
	parse(t, read(t, "release/nfpm.yaml"), &pack)
	if len(pack.Contents) < 5 {
		t.Errorf("the package has %d things", len(pack.Contents))
	}
	for _, c := range pack.Contents {
		if made, is := strings.CutPrefix(c.Src, "${TREE}/"); is {
			if name, _, _ := strings.Cut(made, "/"); !strings.Contains(script, strings.TrimSuffix(name, filepath.Ext(name))) {
				t.Errorf("release.sh makes no %s", made)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join("../..", c.Src)); err != nil {
			t.Error(err)
		}
	}
	status, _, stderr := invoke(t, "", "serve", "--config", "release/troupe.yaml", "--device", "none")
	if status != 2 || strings.Contains(stderr, "troupe.yaml") || !strings.Contains(stderr, "--device") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

type kubernetesDeployment struct {
	Kind string
	Spec struct {
		Template struct {
			Spec struct {
				TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
				Containers                    []struct {
					Args           []string
					LivenessProbe  kubernetesProbe `yaml:"livenessProbe"`
					ReadinessProbe kubernetesProbe `yaml:"readinessProbe"`
				}
			}
		}
	}
}

type kubernetesProbe struct {
	HTTPGet struct{ Path string } `yaml:"httpGet"`
}

// kubernetes is the example's deployment; all its documents are YAML.
func kubernetes(t *testing.T) *kubernetesDeployment {
	t.Helper()
	var found *kubernetesDeployment
	var kinds []string
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, "release/kubernetes.yaml"))))
	for {
		var d kubernetesDeployment
		err := decoder.Decode(&d)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if kinds = append(kinds, d.Kind); d.Kind == "Deployment" {
			found = &d
		}
	}
	if found == nil || len(found.Spec.Template.Spec.Containers) != 1 || !slices.Contains(kinds, "Service") {
		t.Fatalf("kubernetes.yaml has %v", kinds)
	}
	return found
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
