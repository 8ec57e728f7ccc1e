package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed dump.go.txt
var dumpSource []byte

//go:embed overlay.yaml
var overlaySource []byte

// packages whose types are served, or are parts of them.
var packages = []string{
	"k8s.io/api/admissionregistration/v1",
	"k8s.io/api/apps/v1",
	"k8s.io/api/authentication/v1",
	"k8s.io/api/authorization/v1",
	"k8s.io/api/autoscaling/v1",
	"k8s.io/api/autoscaling/v2",
	"k8s.io/api/batch/v1",
	"k8s.io/api/certificates/v1",
	"k8s.io/api/coordination/v1",
	"k8s.io/api/core/v1",
	"k8s.io/api/discovery/v1",
	"k8s.io/api/events/v1",
	"k8s.io/api/flowcontrol/v1",
	"k8s.io/api/networking/v1",
	"k8s.io/api/node/v1",
	"k8s.io/api/policy/v1",
	"k8s.io/api/rbac/v1",
	"k8s.io/api/resource/v1",
	"k8s.io/api/scheduling/v1",
	"k8s.io/api/storage/v1",
	"k8s.io/apimachinery/pkg/api/resource",
	"k8s.io/apimachinery/pkg/apis/meta/v1",
	"k8s.io/apimachinery/pkg/runtime",
	"k8s.io/apimachinery/pkg/util/intstr",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run is called in plugins/kubeapi, as go generate does.
func run() (err error) {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "kubeapi-gen-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()

	raw, err := dumpTypes(dir, temp)
	if err != nil {
		return err
	}
	var d dump
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("reading the printed types: %w", err)
	}
	components, err := convert(&d, overlaySource, openEnums)
	if err != nil {
		return err
	}
	return write(components, filepath.Join(dir, "schemas", "data"))
}

// dumpTypes runs openapi-gen and prints the definitions it made.
func dumpTypes(dir, temp string) ([]byte, error) {
	header := filepath.Join(temp, "header.txt")
	if err := os.WriteFile(header, nil, 0o600); err != nil {
		return nil, err
	}
	args := []string{
		"tool", "openapi-gen",
		"--output-dir", filepath.Join(temp, "main"), "--output-pkg", "generated/main",
		"--output-file", "openapi.go", "--go-header-file", header,
		"--report-filename", filepath.Join(temp, "report.txt"),
		"--output-model-name-file", "zz_generated.model_name.go",
		"--readonly-pkg", strings.Join(packages, ","),
	}
	if out, err := command(dir, append(args, packages...)...); err != nil {
		return nil, fmt.Errorf("openapi-gen: %w\n%s", err, out)
	}

	printer := filepath.Join(temp, "dump.go")
	if err := os.WriteFile(printer, dumpSource, 0o600); err != nil {
		return nil, err
	}
	target := filepath.Join(dir, "internal", "gen", "dump")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(target, "main.go"):    printer,
		filepath.Join(target, "openapi.go"): filepath.Join(temp, "main", "openapi.go"),
	}})
	if err != nil {
		return nil, err
	}
	overlayFile := filepath.Join(temp, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return nil, err
	}
	return command(dir, "run", "-overlay", overlayFile, "./internal/gen/dump")
}

func command(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...) //nolint:noctx // an interrupt from the terminal reaches it too
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.Bytes())
	}
	return out, nil
}
