package openapi

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"slices"
	"sync"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

// state is what is known about one snapshot of the registry.
type state struct {
	generation uint64
	others     *aggregation.Discovery
	list       []groupVersion
	// remote documents of version 3, by id: where they are.
	remote map[string]string
	// hashes of documents by id; the hash of all under "".
	hashes map[string]string
	// types keeps hashes of single types, so that a change of one type does not make
	// those of a thousand others be worked out again.
	types map[*registry.Type]string
}

// current returns the state of the registry's present snapshot. Documents are made only
// when they are asked for, so their hashes are of what they are made from.
func (h *Handler) current() (*state, error) {
	snapshot := h.cfg.Types.Snapshot()
	old := h.state.Load()
	var others *aggregation.Discovery
	if h.cfg.Others != nil {
		others = h.cfg.Others.Discovery()
	}
	if old != nil && old.generation == snapshot.Generation && old.others == others {
		return old, nil
	}
	s := &state{
		generation: snapshot.Generation, others: others, list: groupVersions(snapshot),
		hashes: map[string]string{}, types: map[*registry.Type]string{}, remote: map[string]string{},
	}
	all := sha256.New()
	if others != nil {
		for _, r := range others.Remote {
			id := documentID(r.GroupVersion)
			s.list = slices.DeleteFunc(s.list, func(gv groupVersion) bool { return gv.id == id })
			if r.OpenAPIV3 != "" && !r.Stale {
				s.remote[id] = r.OpenAPIV3
				feed(all, id, r.OpenAPIV3)
			}
		}
	}
	for _, gv := range s.list {
		sum := sha256.New()
		feed(sum, build(), h.cfg.Version, gv.id)
		for _, t := range gv.types {
			var known string
			if old != nil {
				known = old.types[t]
			}
			if known == "" {
				var err error
				if known, err = hashType(t); err != nil {
					return nil, err
				}
			}
			s.types[t] = known
			feed(sum, known)
		}
		s.hashes[gv.id] = hex.EncodeToString(sum.Sum(nil))
		feed(all, s.hashes[gv.id])
	}
	s.hashes[""] = hex.EncodeToString(all.Sum(nil))
	h.state.Store(s)
	return s, nil
}

// feed adds texts to a hash so that where one ends matters.
func feed(h hash.Hash, texts ...string) {
	for _, t := range texts {
		h.Write([]byte(t))
		h.Write([]byte{0})
	}
}

// hashType covers all of a type that a document shows. The schemas of types that come
// with the server change with the program only (see build) and are not read.
func hashType(t *registry.Type) (string, error) {
	sum := sha256.New()
	shown := struct {
		Definition crd.Definition
		Version    *crd.Version
	}{*t.Definition, t.Version}
	shown.Definition.Versions = nil
	if err := json.NewEncoder(sum).Encode(shown); err != nil {
		return "", fmt.Errorf("hash %s: %w", t.GVR, err)
	}
	if t.Definition.Source != registry.BuiltinSource {
		s, err := schemaOf(t)
		if err != nil {
			return "", err
		}
		if s != nil {
			if err := hashSchema(sum, s, s.Root, map[string]bool{}); err != nil {
				return "", fmt.Errorf("hash the schema of %s: %w", t.GVR, err)
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func hashSchema(sum hash.Hash, s *schema.Schema, root *schema.Components, seen map[string]bool) error {
	if err := json.NewEncoder(sum).Encode(s); err != nil {
		return err
	}
	if root == nil {
		return nil
	}
	for _, name := range s.References() {
		if seen[name] {
			continue
		}
		seen[name] = true
		if c := root.Get(name); c != nil {
			if err := hashSchema(sum, c, root, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// build identifies the running program: what comes with it changes when it does. It is the
// linker's build id, so that servers that run the same program give the same hashes; where
// there is none, size and time of the file.
var build = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	if f, err := elf.Open(path); err == nil {
		defer f.Close()
		if note := f.Section(".note.go.buildid"); note != nil {
			if id, err := note.Data(); err == nil {
				return string(id)
			}
		}
	}
	s, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %d", s.Size(), s.ModTime().UnixNano())
})
