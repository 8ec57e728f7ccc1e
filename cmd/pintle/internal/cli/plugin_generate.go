package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
)

// The generator is a module of its own beside the SDK.
const (
	sdkModule       = "github.com/pintle-dev/pintle"
	generatorFolder = "sdk/tools/generate"
)

const pluginGenerateHelp = `Write what a plugin says as data from its Go structs, in the module of the current directory:

  crds/GROUP_PLURAL.yaml   from each type marked +kubebuilder:object:root=true
  settings.schema.json     from the struct marked +pintle:settings, beside it
  zz_generated.deepcopy.go for types marked +kubebuilder:object:generate=true

The markers are those of controller-gen (https://book.kubebuilder.io/reference/markers). The
generator is a Go program beside the SDK, in the SDK's version, which is built when it is first
used. PACKAGES are Go's patterns, ./... where there are none.`

func newPluginGenerate() *cobra.Command {
	var dir, crds string
	cmd := &cobra.Command{
		Use: "generate [PACKAGES]", Short: "Write resource types and the schema of settings from Go structs with markers",
		Long: pluginGenerateHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			abs, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			run, err := generatorCommand(cmd, abs)
			if err != nil {
				return err
			}
			run.Args = append(append(run.Args, "-dir", abs, "-crds", crds), args...)
			run.Stdout, run.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			// A workspace of the author's does not have the generator.
			run.Env = append(os.Environ(), "GOWORK=off")
			if err := run.Run(); err != nil {
				return fmt.Errorf("generator: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "directory of the plugin's module")
	cmd.Flags().StringVar(&crds, "crds", "crds", "directory for the types, below --dir")
	return cmd
}

// generatorCommand runs the generator that belongs to the SDK of the module in dir.
func generatorCommand(cmd *cobra.Command, dir string) (*exec.Cmd, error) {
	tool, err := exec.LookPath("go")
	if err != nil {
		return nil, errors.New("go is not in the PATH (https://go.dev/dl)")
	}
	list := exec.CommandContext(cmd.Context(), tool, "list", "-m", "-json", sdkModule)
	list.Dir = dir
	out, err := list.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("%s does not require %s: %w", dir, sdkModule, err)
	}
	var m struct {
		Version, Dir string
		Replace      *struct{ Version, Dir string }
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	if m.Replace != nil && m.Replace.Version == "" {
		return exec.CommandContext(cmd.Context(), tool, "run", "-C", filepath.Join(m.Replace.Dir, generatorFolder), "."), nil
	}
	return exec.CommandContext(cmd.Context(), tool, "run", sdkModule+"/"+generatorFolder+"@"+m.Version), nil
}
