package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/pintle-dev/pintle/core/auth/pki"
)

// PeerDir is where in a certificate directory the authority of the servers is.
const PeerDir = "peer"

// sharedFiles are the files of a certificate directory that all servers of a cluster have in
// common, as patterns of path.Match. Everything else is a server's own.
var sharedFiles = []string{
	"ca.crt", "ca.key",
	"front-proxy-ca.crt", "front-proxy-ca.key",
	"serviceaccount/sa*.key", "serviceaccount/sa*.pub",
	PeerDir + "/ca.crt", PeerDir + "/ca.key",
}

// maxSecret bounds one file; keys and certificates are far smaller.
const maxSecret = 64 << 10

// collectSecrets reads the shared files below dir.
func collectSecrets(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, pattern := range sharedFiles {
		found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			rel, err := filepath.Rel(dir, file)
			if err != nil {
				return nil, err
			}
			out[filepath.ToSlash(rel)] = b
		}
	}
	if out["ca.key"] == nil || out[PeerDir+"/ca.key"] == nil {
		return nil, fmt.Errorf("the cluster's keys in %s are not complete", dir)
	}
	return out, nil
}

// writeSecrets writes what another server has given; nothing else than shared files, and
// readable by nobody else.
func writeSecrets(dir string, files map[string][]byte) error {
	names := make([]string, 0, len(files))
	for name, content := range files {
		ok := false
		for _, pattern := range sharedFiles {
			if m, err := path.Match(pattern, name); err == nil && m {
				ok = true
			}
		}
		if !ok || len(content) > maxSecret {
			return fmt.Errorf("the other server sent a file %q that is none of the cluster's keys", name)
		}
		names = append(names, name)
	}
	for _, needed := range []string{"ca.crt", "ca.key", PeerDir + "/ca.crt", PeerDir + "/ca.key"} {
		if files[needed] == nil {
			return fmt.Errorf("the other server did not send %s", needed)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := pki.WriteFile(file, files[name]); err != nil {
			return err
		}
	}
	return nil
}

// cleanLeft removes certificates of an authority that is about to be replaced: those of a
// start that failed before this server joined.
func cleanLeft(dir string) error {
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the keys of a start that did not join: %w", err)
	}
	return nil
}
