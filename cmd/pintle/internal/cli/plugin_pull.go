package cli

import (
	"errors"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/core/catalogue"
)

func newPluginPull() *cobra.Command {
	var mirror, output, constraint, platform string
	var access registryFlags
	cmd := &cobra.Command{
		Use: "pull REF", Short: "Copy a plugin from a registry into a mirror or a directory",
		Long: "With --mirror, everything there is of it (all platforms, all signatures) is added to a mirror: a directory that a cluster without network asks instead of registries (pluginTrust.mirror). " +
			"With --output, the files of one platform are written as they were pushed. Signatures are copied and not judged: plugin verify does that, and every host before it runs a plugin.",
		Example: "  pintle plugin pull registry.example.com/plugins/widget --version '>=1.2, <2' --mirror /srv/plugins\n" +
			"  pintle plugin pull registry.example.com/plugins/widget:1.2.0 --output ./widget",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (mirror == "") == (output == "") {
				return errors.New("exactly one of --mirror and --output is needed")
			}
			var got catalogue.Copied
			var err error
			if mirror != "" {
				got, err = catalogue.Mirror(cmd.Context(), access.access(), args[0], constraint, mirror)
			} else {
				got, err = catalogue.Unpack(cmd.Context(), access.access(), args[0], constraint, platform, output)
			}
			if err != nil {
				return err
			}
			cmd.Printf("pulled %s %s (%s) to %s, signatures: %d\n", got.Manifest.Name, got.Manifest.Version, got.Digest, got.Path, got.Signatures)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&mirror, "mirror", "", "directory of the mirror; made where it is missing")
	f.StringVarP(&output, "output", "o", "", "directory for the files; made where it is missing")
	f.StringVar(&constraint, "version", "", "constraint on the version, such as '>=1.2, <2'; the newest that fits is taken where REF has no tag")
	f.StringVar(&platform, "platform", runtime.GOOS+"/"+runtime.GOARCH, "platform of the files that --output writes")
	access.register(cmd)
	return cmd
}
