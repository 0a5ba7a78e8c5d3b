package hub

import (
	"context"
	"fmt"
	"net/url"
)

// modelScopeListing is ModelScope's answer to
// /api/v1/models/REPO/repo/files?Revision=REV&Recursive=true. Every file has its
// SHA-256. Read in the source of its own client, modelscope/hub/api.py and
// file_download.py.
type modelScopeListing struct {
	Success bool
	Message string
	Data    struct {
		Files []struct {
			Path   string
			Type   string // "blob", or "tree" of directories
			Size   int64
			Sha256 string
		}
	}
}

// getModelScope asks ModelScope what the repository holds.
func (p *puller) getModelScope(ctx context.Context) (l listing, err error) {
	var answer modelScopeListing
	query := url.Values{"Revision": {p.Revision}, "Recursive": {"true"}}
	if err := p.getJSON(ctx, "/api/v1/models/"+p.Repo+"/repo/files?"+query.Encode(), &answer); err != nil {
		return l, err
	}
	if !answer.Success {
		return l, permanent{fmt.Errorf("ModelScope says: %s", answer.Message)}
	}
	for _, f := range answer.Data.Files {
		if f.Type == "tree" {
			continue
		}
		s := sibling{Name: f.Path, Size: &f.Size, SHA256: f.Sha256}
		l.Siblings = append(l.Siblings, s)
	}
	return l, nil
}
