package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Main builds the program pintle, runs the tests of a package and returns the code to exit
// with. The environment variable PINTLE names a built program to test instead.
func Main(m *testing.M, folder string) int {
	dir, err := os.MkdirTemp("", "pintle-test")
	if err == nil {
		pintle, err = Program(context.Background(), "PINTLE", folder, "./cmd/pintle", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return m.Run()
}

// pintle is the program that Main built.
var pintle string

// Pintle is the path of the program that Main built.
func Pintle() string { return pintle }

// Program is the path of a built program: what the environment variable env names, or else
// pkg as the module in folder builds it into dir.
func Program(ctx context.Context, env, folder, pkg, dir string) (string, error) {
	if p := os.Getenv(env); p != "" {
		return filepath.Abs(p)
	}
	p := filepath.Join(dir, filepath.Base(pkg))
	flags := "-s -w"
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubectl")
	list.Dir = folder
	if version, err := list.Output(); err == nil {
		// As the Makefile does, so that pintle kubectl knows its version.
		flags += " -X k8s.io/component-base/version.gitVersion=v1" + strings.TrimPrefix(strings.TrimSpace(string(version)), "v0")
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", flags, "-o", p, pkg)
	build.Dir = folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s (or name a built one by %s): %w\n%s", pkg, env, err, out)
	}
	return p, nil
}

// Run runs a program to its end and returns what it wrote to its standard output, and an
// error that carries what it wrote to its standard error.
func Run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// Eventually calls check until it returns no error, and fails the test with the last one
// when that takes too long.
func Eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
