package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// File is a file as the hub lists it.
type File struct {
	Name string
	Size int64
	// SHA256 is of the content. Small files have none, but a Git blob's SHA-1:
	// of "blob SIZE\0" and the content.
	SHA256, GitSHA1 string
}

// hasher returns the hash that the file is checked with, and its expected sum
// in hexadecimal.
func (f *File) hasher() (hash.Hash, string) {
	if f.SHA256 != "" {
		return sha256.New(), f.SHA256
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", f.Size)
	return h, f.GitSHA1
}

// maxListing bounds the hub's answer: a few hundred bytes a file.
const maxListing = 32 << 20

// listing is the hub's answer to /api/models/REPO/revision/REV?blobs=true, and
// the same with datasets.
type listing struct {
	Commit   string    `json:"sha"`
	Siblings []sibling `json:"siblings"`
}

type sibling struct {
	Name   string `json:"rfilename"`
	Size   *int64 `json:"size"`
	BlobID string `json:"blobId"`
	SHA256 string `json:"-"` // as ModelScope has it, of every file
	LFS    *struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

// file is the sibling as a file that can be checked.
func (s *sibling) file() (File, error) {
	f := File{Name: s.Name, SHA256: s.SHA256, GitSHA1: s.BlobID}
	if s.Size != nil {
		f.Size = *s.Size
	}
	if s.LFS != nil {
		f = File{Name: s.Name, Size: s.LFS.Size, SHA256: s.LFS.SHA256}
	}
	if (s.Size == nil && s.LFS == nil) || f.Size < 0 || !(isHex(f.SHA256, sha256.Size) || isHex(f.GitSHA1, sha1.Size)) {
		return f, fmt.Errorf("the hub lists %s without a size and a hash to check it by", s.Name)
	}
	return f, nil
}

// shard are the weights' names, alone or in parts.
var shard = regexp.MustCompile(`^model(-\d+-of-\d+)?\.safetensors$`)

// smallFiles are what a checkpoint may have beside its weights.
var smallFiles = []string{
	"config.json", "hf_quant_config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", indexFile,
}

// list asks what the repository holds at the revision. It sets commit.
func (p *puller) list(ctx context.Context) (l listing, err error) {
	get := p.getListing
	if p.ModelScope {
		get = p.getModelScope
	}
	err = p.retry(ctx, func(*bool) error {
		l, err = get(ctx)
		return err
	})
	if err != nil || p.ModelScope {
		return l, err
	}
	if !isHex(l.Commit, sha1.Size) {
		return l, fmt.Errorf("the hub names no commit for revision %s: %q", p.Revision, l.Commit)
	}
	p.commit = l.Commit
	return l, nil
}

func (p *puller) getListing(ctx context.Context) (l listing, err error) {
	err = p.getJSON(ctx, "/api/"+p.kind+"/"+p.Repo+"/revision/"+url.PathEscape(p.Revision)+"?blobs=true", &l)
	return l, err
}

// getJSON asks for a listing.
func (p *puller) getJSON(ctx context.Context, path string, v any) error {
	a, err := p.get(ctx, path, 0)
	if err != nil {
		return err
	}
	defer a.Close()
	data, err := io.ReadAll(io.LimitReader(a, maxListing+1))
	if err != nil {
		return err
	}
	if a.response.StatusCode != http.StatusOK || len(data) > maxListing {
		return permanent{fmt.Errorf("the hub answers %s with %d bytes to a listing", a.response.Status, len(data))}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return permanent{fmt.Errorf("the hub's listing: %w", err)}
	}
	return nil
}

// checkpoint picks the files of a checkpoint: weights, and the small ones
// before them. A single file of weights is preferred
// to shards, as in model.Open.
func (l *listing) checkpoint() (small, weights []File, err error) {
	var others []string
	single := -1
	for _, s := range l.Siblings {
		isSmall, isShard := slices.Contains(smallFiles, s.Name), shard.MatchString(s.Name)
		if !isSmall && !isShard {
			others = append(others, s.Name)
			continue
		}
		f, err := s.file()
		if err != nil {
			return nil, nil, err
		}
		if isSmall {
			small = append(small, f)
			continue
		}
		if s.Name == singleFile {
			single = len(weights)
		}
		weights = append(weights, f)
	}
	if len(weights) == 0 && slices.ContainsFunc(others, isGGUF) {
		return nil, nil, fmt.Errorf("the repository has its weights in GGUF files: name one as OWNER/NAME:QUANTISATION; it has %s", quantisations(ggufs(others)))
	}
	if !slices.ContainsFunc(small, func(f File) bool { return f.Name == configFile }) {
		return nil, nil, errors.New("the repository has no config.json")
	}
	if len(weights) == 0 {
		return nil, nil, fmt.Errorf("the repository has no safetensors weights; it has %s", some(others))
	}
	if single >= 0 {
		small = slices.DeleteFunc(small, func(f File) bool { return f.Name == indexFile })
		weights = weights[single : single+1]
	}
	return small, weights, nil
}

// lacks are the small files that the repository does not have.
func (l *listing) lacks() (names []string) {
	for _, name := range smallFiles {
		if !slices.ContainsFunc(l.Siblings, func(s sibling) bool { return s.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// some shortens a list for an error.
func some(names []string) string {
	if len(names) == 0 {
		return "nothing else"
	}
	text := strings.Join(names[:min(len(names), 6)], ", ")
	if len(names) > 6 {
		text += ", …"
	}
	return text
}

// isHex reports whether s is n bytes in hexadecimal.
func isHex(s string, n int) bool {
	data, err := hex.DecodeString(s)
	return err == nil && len(data) == n
}
