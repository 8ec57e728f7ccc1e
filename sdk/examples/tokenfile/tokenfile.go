package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// prefix begins the tokens of this sort, so that the tokens of others are told apart.
const prefix = "tf-"

// tokenfile knows the users in one file, and the rules in the same.
type tokenfile struct {
	file  string
	state atomic.Pointer[state]
}

// state is the file as it was read.
type state struct {
	read  time.Time
	users map[string]user // by the SHA-256 of the token, in hexadecimal
	rules []rule
}

type user struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	// TokenSHA256 of the token, in hexadecimal: the file has no tokens in it.
	TokenSHA256 string `json:"tokenSHA256"`
	// Disabled users' tokens are no good.
	Disabled bool `json:"disabled"`
}

// rule says what members of a group may do. The first that fits decides.
type rule struct {
	Group      string   `json:"group"`
	Verbs      []string `json:"verbs"`
	Resources  []string `json:"resources"`
	Namespaces []string `json:"namespaces"`
	Deny       bool     `json:"deny"`
}

var (
	_ authentication.Authenticator = (*tokenfile)(nil)
	_ authorization.Authorizer     = (*tokenfile)(nil)
)

// Info implements plugin.Plugin.
func (*tokenfile) Info() plugin.Info {
	return plugin.Info{Name: "tokenfile", Version: "0.1.0", Description: "Users and what they may do, from a file"}
}

// ConfigSchema implements plugin.Plugin.
func (*tokenfile) ConfigSchema() []byte {
	return []byte(`{"type":"object","required":["file"],"properties":{
		"file":{"type":"string","minLength":1,"description":"an absolute path of a JSON file with users and rules; it is read again when it changes"}}}`)
}

// Configure implements plugin.Plugin.
func (f *tokenfile) Configure(_ context.Context, raw []byte) error {
	var s struct {
		File string `json:"file"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if !filepath.IsAbs(s.File) {
		return fmt.Errorf("settings.file: %q is not an absolute path", s.File)
	}
	f.file = s.File
	if _, err := f.current(); err != nil {
		return fmt.Errorf("settings.file: %w", err)
	}
	return nil
}

// current returns the file's content, which is read again where it has changed.
func (f *tokenfile) current() (*state, error) {
	info, err := os.Stat(f.file)
	if err != nil {
		return nil, err
	}
	if s := f.state.Load(); s != nil && s.read.Equal(info.ModTime()) {
		return s, nil
	}
	raw, err := os.ReadFile(f.file)
	if err != nil {
		return nil, err
	}
	var content struct {
		Users []user `json:"users"`
		Rules []rule `json:"rules"`
	}
	if err := json.Unmarshal(raw, &content); err != nil {
		return nil, fmt.Errorf("%s: %w", f.file, err)
	}
	s := &state{read: info.ModTime(), users: map[string]user{}, rules: content.Rules}
	for _, u := range content.Users {
		s.users[strings.ToLower(u.TokenSHA256)] = u
	}
	f.state.Store(s)
	return s, nil
}

// AuthenticateToken implements authentication.Authenticator. Tokens are compared by their
// sums, so that time tells nothing about them.
func (f *tokenfile) AuthenticateToken(_ context.Context, t authentication.Token) (authentication.Response, bool, error) {
	if !strings.HasPrefix(t.Secret, prefix) {
		return authentication.Response{}, false, nil
	}
	s, err := f.current()
	if err != nil {
		return authentication.Response{}, false, err
	}
	sum := sha256.Sum256([]byte(t.Secret))
	u, ok := s.users[hex.EncodeToString(sum[:])]
	switch {
	case !ok:
		return authentication.Response{}, false, errors.New("the token is nobody's")
	case u.Disabled:
		return authentication.Response{}, false, fmt.Errorf("user %s is disabled", u.Name)
	}
	return authentication.Response{User: resource.User{Name: u.Name, Groups: u.Groups}}, true, nil
}

// Authorize implements authorization.Authorizer.
func (f *tokenfile) Authorize(_ context.Context, a authorization.Attributes) (authorization.Decision, string, error) {
	s, err := f.current()
	if err != nil {
		return authorization.NoOpinion, "", err
	}
	for _, r := range s.rules {
		if !r.fits(&a) {
			continue
		}
		if r.Deny {
			return authorization.Deny, fmt.Sprintf("members of %s may not %s %s", r.Group, a.Verb, a.Resource), nil
		}
		return authorization.Allow, "", nil
	}
	return authorization.NoOpinion, "", nil
}

func (r *rule) fits(a *authorization.Attributes) bool {
	in := func(list []string, v string) bool { return slices.Contains(list, "*") || slices.Contains(list, v) }
	return a.IsResource() && slices.Contains(a.User.Groups, r.Group) && in(r.Verbs, a.Verb) && in(r.Resources, a.Resource) &&
		(len(r.Namespaces) == 0 || in(r.Namespaces, a.Namespace))
}
