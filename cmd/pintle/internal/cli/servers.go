package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/cluster"
)

// memberCallTimeout bounds one call: a change of the members waits for the others.
const memberCallTimeout = 30 * time.Second

// memberOptions say which cluster is meant.
type memberOptions struct {
	options
	kubeconfig string
}

func (o *memberOptions) register(cmd *cobra.Command) {
	o.registerDataDir(cmd)
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "the administrator's kubeconfig for any server of the cluster, instead of the data directory's")
}

// client for the cluster's endpoints.
func (o *memberOptions) client() (rest.Interface, error) {
	file := o.kubeconfig
	if file == "" {
		dir, err := layout.At(o.dataDir)
		if err != nil {
			return nil, err
		}
		file = dir.Kubeconfig()
	}
	conf, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	conf.Timeout = memberCallTimeout
	client, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	return client.Discovery().RESTClient(), nil
}

// call does one request and decodes its answer.
func (o *memberOptions) call(ctx context.Context, verb, path string, body, answer any) error {
	client, err := o.client()
	if err != nil {
		return err
	}
	req := client.Verb(verb).AbsPath(path)
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		req = req.Body(raw).SetHeader("Content-Type", "application/json")
	}
	raw, err := req.DoRaw(ctx)
	if err != nil {
		return callError(err, raw)
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	return nil
}

// callError is what the server said, where it said something.
func callError(err error, raw []byte) error {
	var status apierrors.APIStatus
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &said) == nil && said.Message != "" {
		return errors.New(said.Message)
	}
	if errors.As(err, &status) && status.Status().Message != "" {
		return errors.New(status.Status().Message)
	}
	return err
}

// addServerCommands are those about the servers of a cluster.
func addServerCommands(parent *cobra.Command) {
	parent.AddCommand(newServerToken(), newServerList(), newServerRemove(), newServerTransfer())
}

func newServerToken() *cobra.Command {
	var (
		o    memberOptions
		life time.Duration
	)
	cmd := &cobra.Command{
		Use: "token", Short: "Print a token that lets servers join this cluster until it expires", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer cluster.TokenAnswer
			if err := o.call(cmd.Context(), "POST", cluster.TokensPath, cluster.TokenRequest{Life: life}, &answer); err != nil {
				return err
			}
			cmd.Println(answer.Token)
			return nil
		},
	}
	o.register(cmd)
	cmd.Flags().DurationVar(&life, "ttl", cluster.DefaultTokenLife, "how long the token is good")
	return cmd
}

func newServerList() *cobra.Command {
	var (
		o      memberOptions
		format string
	)
	cmd := &cobra.Command{
		Use: "list", Short: "List the servers of this cluster: who leads, who is behind, who is not well", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "" && format != "json" {
				return fmt.Errorf("--output: %q is not json", format)
			}
			var answer cluster.ServersAnswer
			if err := o.call(cmd.Context(), "GET", cluster.ServersPath, nil, &answer); err != nil {
				return err
			}
			if format == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
			}
			return printServers(cmd.OutOrStdout(), answer)
		},
	}
	o.register(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "", "json for programs")
	return cmd
}

func printServers(out io.Writer, answer cluster.ServersAnswer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLE\tADDRESS\tAPI\tVERSION\tBEHIND\tHEALTH")
	for _, s := range answer.Servers {
		health, behind := "healthy", fmt.Sprint(s.Behind)
		if !s.Healthy {
			health = s.Reason
			if s.Version == "" {
				behind = "?"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Role, s.Address, strings.Join(s.API, ","), s.Version, behind, health)
	}
	if answer.Warning != "" {
		fmt.Fprintln(w, "warning: "+answer.Warning)
	}
	return w.Flush()
}

func newServerRemove() *cobra.Command {
	var o memberOptions
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Take a server out of this cluster for good; it can come back only with an empty data directory", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var answer cluster.ServersAnswer
			if err := o.call(cmd.Context(), "DELETE", cluster.ServersPath+"/"+args[0], nil, &answer); err != nil {
				return err
			}
			cmd.Printf("server %s removed\n", args[0])
			return printServers(cmd.OutOrStdout(), answer)
		},
	}
	o.register(cmd)
	return cmd
}

func newServerTransfer() *cobra.Command {
	var o memberOptions
	cmd := &cobra.Command{
		Use: "transfer [NAME]", Short: "Hand the lead to the named server, or to any other", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := strings.Join(args, "")
			var answer struct{}
			if err := o.call(cmd.Context(), "POST", cluster.TransferPath, cluster.TransferRequest{To: to}, &answer); err != nil {
				return err
			}
			if to == "" {
				to = "another server"
			}
			cmd.Printf("the lead was handed to %s\n", to)
			return nil
		},
	}
	o.register(cmd)
	return cmd
}

// statusServers are the lines of `pintle status` about a cluster of several servers.
func statusServers(ctx context.Context, w io.Writer, dir layout.Dir) []error {
	o := memberOptions{options: options{dataDir: string(dir)}}
	var answer cluster.ServersAnswer
	if err := o.call(ctx, "GET", cluster.ServersPath, nil, &answer); err != nil {
		return []error{fmt.Errorf("servers: %w", err)}
	}
	var errs []error
	for _, s := range answer.Servers {
		state := s.Role
		if s.Behind > 0 {
			state += fmt.Sprintf(", %d revisions behind", s.Behind)
		}
		if !s.Healthy {
			state += ", " + s.Reason
			errs = append(errs, fmt.Errorf("server %s is not well: %s", s.Name, s.Reason))
		}
		fmt.Fprintf(w, "server %s\t%s\n", s.Name, state)
	}
	return errs
}
