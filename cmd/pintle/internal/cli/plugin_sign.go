package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pintle-dev/pintle/core/catalogue"
)

// keyPassword is the variable that has the password of a private key; cosign's is taken too.
const keyPassword = "PINTLE_KEY_PASSWORD"

func newPluginKeygen() *cobra.Command {
	var kind, output string
	cmd := &cobra.Command{
		Use: "keygen", Short: "Make a pair of keys: one signs plugins, the other tells clusters to trust them",
		Long: "Writes NAME.key, which signs and which nobody else may have, and NAME.pub, which goes into pluginTrust.keys of those who trust it. " +
			"The private key is encrypted with the password in " + keyPassword + " or typed in; an empty one leaves it as it is. cosign reads and writes the same files.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			private, public := output+".key", output+".pub"
			for _, path := range []string{private, public} {
				if _, err := os.Lstat(path); err == nil {
					return fmt.Errorf("%s exists: what it has signed could not be signed again if it were lost; choose another --output", path)
				} else if !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("key: %w", err)
				}
			}
			password, err := readPassword(cmd, true)
			if err != nil {
				return err
			}
			key, pub, err := catalogue.GenerateKey(catalogue.KeyType(kind), password)
			if err != nil {
				return err
			}
			if err := writeNew(private, key, 0o600); err != nil {
				return err
			}
			if err := writeNew(public, pub, 0o644); err != nil {
				return err
			}
			fingerprint, err := catalogue.Fingerprint(pub)
			if err != nil {
				return err
			}
			cmd.Printf("wrote %s (keep it) and %s (give it away)\nfingerprint %s\n", private, public, fingerprint)
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "type", string(catalogue.ECDSA), "ecdsa or ed25519")
	cmd.Flags().StringVarP(&output, "output", "o", "pintle", "path of the keys, without .key and .pub")
	return cmd
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	return nil
}

// readPassword takes a password from the environment, or asks for it where there is a terminal.
// A new one is asked for twice; without a terminal there is none.
func readPassword(cmd *cobra.Command, fresh bool) ([]byte, error) {
	for _, name := range []string{keyPassword, "COSIGN_PASSWORD"} {
		if v, ok := os.LookupEnv(name); ok {
			return []byte(v), nil
		}
	}
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		if fresh {
			return nil, nil
		}
		return nil, fmt.Errorf("the private key is encrypted: put its password into %s", keyPassword)
	}
	ask := func(what string) ([]byte, error) {
		cmd.PrintErr(what + ": ")
		b, err := term.ReadPassword(in)
		cmd.PrintErrln()
		if err != nil {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		return b, nil
	}
	password, err := ask("Password of the private key")
	if err != nil || !fresh {
		return password, err
	}
	again, err := ask("Again")
	if err != nil {
		return nil, err
	}
	if string(again) != string(password) {
		return nil, errors.New("the two passwords differ")
	}
	return password, nil
}

func newPluginSign() *cobra.Command {
	var key string
	var access registryFlags
	cmd := &cobra.Command{
		Use: "sign DIR|REF", Short: "Sign a plugin, in its directory or at its registry",
		Long: "In a directory, " + catalogue.SignatureFile + " is written, which plugin push takes along. " +
			"At a registry, the signature lies where cosign looks for it (cosign verify --key NAME.pub --insecure-ignore-tlog REF).",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pem, err := os.ReadFile(key)
			if err != nil {
				return fmt.Errorf("--key: %w", err)
			}
			signer, err := catalogue.NewSigner(pem, func() ([]byte, error) { return readPassword(cmd, false) })
			if err != nil {
				return fmt.Errorf("--key %s: %w", key, err)
			}
			var d digest.Digest
			if isDirectory(args[0]) {
				d, err = catalogue.SignDirectory(args[0], signer)
			} else {
				d, err = catalogue.SignReference(cmd.Context(), access.access(), args[0], signer)
			}
			if err != nil {
				return err
			}
			cmd.Printf("signed %s\n", d)
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "file of the private key")
	_ = cmd.MarkFlagRequired("key")
	access.register(cmd)
	return cmd
}

// isDirectory tells a directory from a reference: it is there, or is written as a path is.
func isDirectory(arg string) bool {
	if st, err := os.Stat(arg); err == nil && st.IsDir() {
		return true
	}
	return strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || arg == "."
}

// registryFlags say how a command reaches registries.
type registryFlags struct {
	credentials string
	plainHTTP   []string
}

func (f *registryFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.credentials, "credentials", "", "credentials in the format of Docker's config.json (default: that of docker login, where there is one)")
	cmd.Flags().StringSliceVar(&f.plainHTTP, "plain-http", nil, "registries that are reached without TLS, beside those on loopback")
}

func (f *registryFlags) access() catalogue.Access {
	a := catalogue.Access{Credentials: f.credentials, PlainHTTP: f.plainHTTP}
	if a.Credentials != "" {
		return a
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if home, err := os.UserHomeDir(); dir == "" && err == nil {
		dir = filepath.Join(home, ".docker")
	}
	if path := filepath.Join(dir, "config.json"); dir != "" {
		if _, err := os.Stat(path); err == nil {
			a.Credentials = path
		}
	}
	return a
}
