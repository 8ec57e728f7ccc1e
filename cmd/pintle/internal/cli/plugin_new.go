package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/scaffold"
)

// sdkEnv names a checkout of Pintle, for authors who work with an SDK that is not released.
const sdkEnv = "PINTLE_SDK"

const pluginNewHelp = `Write a complete project for a plugin into the directory NAME: code, plugin.yaml, tests, Makefile,
what continuous integration runs, README. It builds and passes its tests as it stands.

Kinds:
%s
The project requires the SDK in this command's own version. To work with an SDK that is not
released, name a checkout of Pintle with --sdk or $PINTLE_SDK: go.mod replaces the SDK by it.`

func newPluginNew() *cobra.Command {
	var o scaffold.Options
	var dir string
	var tidy bool
	var kinds strings.Builder
	for _, k := range scaffold.Kinds() {
		fmt.Fprintf(&kinds, "  %-16s %s\n", k.Name, k.Description)
	}
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Write a complete project for a plugin", Args: cobra.ExactArgs(1),
		Long: fmt.Sprintf(pluginNewHelp, kinds.String()),
		Example: `  pintle plugin new widget --kind resource --group example.dev
  cd widget && make test && pintle plugin dev .`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			if dir == "" {
				dir = o.Name
			}
			if o.SDK == "" {
				if o.SDKVersion = sdkVersion(release.Version); o.SDKVersion == "" {
					return fmt.Errorf("this pintle is %s, which is no release: name a checkout of its source with --sdk or $%s", release.Version, sdkEnv)
				}
			}
			if err := scaffold.Write(dir, o); err != nil {
				return err
			}
			if tidy {
				if err := goModTidy(cmd.Context(), dir); err != nil {
					return err
				}
			}
			cmd.Printf("%s: a plugin of kind %s. What to type next:\n\n  cd %s\n  make test\n  make dev    # with a cluster on this machine; pintle up starts one\n", dir, o.Kind, dir)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Kind, "kind", "resource", "kind of plugin: "+strings.Join(scaffold.KindNames(), ", "))
	f.StringVar(&o.Group, "group", "example.dev", "API group of its types, or prefix of its labels")
	f.StringVar(&o.Module, "module", "", "path of its Go module (default GROUP/NAME)")
	f.StringVar(&o.SDK, "sdk", os.Getenv(sdkEnv), "directory of a checkout of Pintle to take the SDK from ("+sdkEnv+")")
	f.StringVar(&dir, "dir", "", "directory to write (default NAME)")
	f.BoolVar(&tidy, "tidy", true, "run `go mod tidy` in it, which may fetch modules")
	return cmd
}

var releasePattern = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)

// sdkVersion is the version of the module that a build of pintle was made of, empty where no
// proxy can have it.
func sdkVersion(version string) string {
	if releasePattern.MatchString(version) {
		return version
	}
	return ""
}

// goModTidy completes go.mod. Where a checkout is used, the project builds without that.
func goModTidy(ctx context.Context, dir string) error {
	tool, err := exec.LookPath("go")
	if err != nil {
		return errors.New("the project is written; building it needs Go, which is not in the PATH (https://go.dev/dl)")
	}
	c := exec.CommandContext(ctx, tool, "mod", "tidy")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("the project is written, but `go mod tidy` failed in it: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// newPluginAuthoring are the commands for authors of plugins.
func newPluginAuthoring() []*cobra.Command {
	return []*cobra.Command{newPluginNew(), newPluginGenerate(), newPluginDev(), newPluginDocs()}
}
