package author

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/sdk/manifest"
)

// BuildDir is where `pintle plugin dev` builds, below the plugin's directory.
const BuildDir = ".pintle-dev"

// defaultBinary is the name of a plugin's binary where its manifest has none.
const defaultBinary = "plugin"

// BinaryIn is the path of a plugin's binary in the directory of its manifest.
func BinaryIn(dir string, m *manifest.Manifest) string {
	if m.Binary != "" {
		return filepath.Join(dir, m.Binary)
	}
	return filepath.Join(dir, defaultBinary)
}

// Built is a plugin that is ready to be installed.
type Built struct {
	// Dir holds plugin.yaml and the binary.
	Dir string
	// Binary is the path of the binary, SHA256 its sum in hexadecimal.
	Binary, SHA256 string
	Manifest       *manifest.Manifest
	Took           time.Duration
}

// Build compiles the Go plugin in dir into out, which is made, and puts its manifest beside it.
// With debug the compiler leaves the plugin's own packages as their source has them.
func Build(ctx context.Context, dir, out string, debug bool) (*Built, error) {
	began := time.Now()
	text, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s in %s: is it a plugin's directory? (pintle plugin new writes one)", manifest.FileName, dir)
	}
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return nil, err
	}
	b := &Built{Dir: out, Manifest: m, Binary: BinaryIn(out, m)}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	if err := compile(ctx, dir, b.Binary, debug); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(out, manifest.FileName), text, 0o644); err != nil {
		return nil, err
	}
	if b.SHA256, err = sumOf(b.Binary); err != nil {
		return nil, err
	}
	b.Took = time.Since(began)
	return b, nil
}

// interruptDelay is how long an interrupted go command may take to clean up.
const interruptDelay = 5 * time.Second

func compile(ctx context.Context, dir, binary string, debug bool) error {
	tool, err := exec.LookPath("go")
	if err != nil {
		return errors.New("go is not in the PATH (https://go.dev/dl)")
	}
	args := []string{"build", "-o", binary}
	if debug {
		// Of what it imports as well, this would take minutes.
		args = append(args, "-gcflags", "./...=-N -l")
	}
	cmd := exec.CommandContext(ctx, tool, append(args, ".")...)
	cmd.Dir, cmd.Env = dir, os.Environ()
	// Interrupted it takes its own compilers and temporary files along.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = interruptDelay
	if _, set := os.LookupEnv("CGO_ENABLED"); !set {
		// What is linked against this machine's libraries may not run in a guest's view of it.
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &CompileError{Output: strings.TrimSpace(string(out)), err: err}
	}
	return nil
}

// CompileError is what the compiler has to say.
type CompileError struct {
	Output string
	err    error
}

// Error implements error.
func (e *CompileError) Error() string { return "go build: " + e.err.Error() + "\n" + e.Output }

// Unwrap gives the error of the command.
func (e *CompileError) Unwrap() error { return e.err }

func sumOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
