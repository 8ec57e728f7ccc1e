package cli

import (
	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/core/catalogue"
)

func newPluginPush() *cobra.Command {
	var access registryFlags
	cmd := &cobra.Command{
		Use: "push DIR REF", Short: "Push the plugin in a directory to a registry",
		Long: "DIR holds plugin.yaml and its binary, or binaries named BINARY-OS-ARCH for several platforms. " +
			"REF is REGISTRY/REPOSITORY, with a tag or without: then the plugin's version is the tag. Signatures that lie in DIR are pushed as well.",
		Example: "  pintle plugin push ./dist registry.example.com/plugins/widget",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			tag, d, err := catalogue.Publish(cmd.Context(), access.access(), args[0], args[1])
			if err != nil {
				return err
			}
			host, repository, _, err := catalogue.ParseReference(args[1])
			if err != nil {
				return err
			}
			cmd.Printf("pushed %s/%s:%s@%s\n", host, repository, tag, d)
			return nil
		},
	}
	access.register(cmd)
	return cmd
}
