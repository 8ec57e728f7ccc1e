package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/author"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/sdk/manifest"
)

const pluginDocsHelp = `Write the reference of a plugin in Markdown: settings, resource types with their fields, defaults,
limits and columns, and permissions. All of it is what the plugin itself says: it is started, asked
and ended, without a cluster.

  DIRECTORY  of a plugin's source (with a main.go) is built first; one with a binary is not
  FILE       a plugin's binary
  NAME       a plugin that ships with pintle, or one that is installed from this machine`

func newPluginDocs() *cobra.Command {
	var o options
	var out string
	cmd := &cobra.Command{
		Use: "docs DIRECTORY|FILE|NAME", Short: "Write the reference of a plugin's types and settings", Args: cobra.ExactArgs(1),
		Long: pluginDocsHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			answers, err := askPlugin(cmd.Context(), args[0], layout.Dir(o.dataDir))
			if err != nil {
				return err
			}
			if out == "" {
				return author.Reference(cmd.OutOrStdout(), answers)
			}
			f, err := os.Create(out)
			if err != nil {
				return err
			}
			err = author.Reference(f, answers)
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			return err
		},
	}
	o.registerDataDir(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write; standard output where it is not given")
	return cmd
}

// askPlugin finds a plugin by what the user calls it and asks it.
func askPlugin(ctx context.Context, what string, dir layout.Dir) (*author.Answers, error) {
	st, err := os.Stat(what)
	switch {
	case err == nil && st.IsDir():
		return askDirectory(ctx, what)
	case err == nil:
		binary, err := filepath.Abs(what)
		if err != nil {
			return nil, err
		}
		return author.Ask(ctx, binary)
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	case slices.Contains(firstparty.Names(), what):
		p, err := firstparty.New(what)
		if err != nil {
			return nil, err
		}
		return author.AskBuiltin(p)
	}
	client, err := pluginClient(dir)
	if err != nil {
		return nil, fmt.Errorf("%q is no file, and no plugin that ships with pintle; to look for it in a cluster: %w", what, err)
	}
	object, err := client.Get(ctx, what, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", what, err)
	}
	if path, _, _ := unstructured.NestedString(object.Object, "spec", "source", "path"); path != "" {
		return author.Ask(ctx, path)
	}
	directory, _, _ := unstructured.NestedString(object.Object, "spec", "source", "directory")
	if directory == "" {
		return nil, fmt.Errorf("plugin %s was not installed from this machine: give its directory or binary", what)
	}
	return askDirectory(ctx, directory)
}

// askDirectory asks the plugin in a directory, which holds its source or its binary.
func askDirectory(ctx context.Context, dir string) (*author.Answers, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	if len(sources) > 0 {
		tmp, err := os.MkdirTemp("", "pintle-docs")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(tmp) }()
		b, err := author.Build(ctx, dir, tmp, false)
		if err != nil {
			return nil, err
		}
		return author.Ask(ctx, b.Binary)
	}
	text, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	if err != nil {
		return nil, fmt.Errorf("%s holds neither a plugin's source nor its binary: %w", dir, err)
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return nil, err
	}
	return author.Ask(ctx, author.BinaryIn(dir, m))
}
