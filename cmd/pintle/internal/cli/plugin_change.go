package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/host"
)

// checksum is the SHA-256 of what r holds, in hexadecimal.
func checksum(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", fmt.Errorf("checksum: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func newPluginUpgrade() *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use: "upgrade NAME [SOURCE]", Short: "Run another version of a plugin, or with other settings; what runs goes on until that works",
		Long: "The new version is started and checked beside the one that runs, and takes calls and work over. Where it fails then or within the watch period, " +
			"what ran before goes on. Without a SOURCE, the source stays, and what it has now is taken.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := f.wish(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			spec := v.RawSpec
			delete(spec, "restartedAt")
			before := jsonText(spec)
			if len(args) == 2 {
				_, src, err := f.locate(args[1])
				if err != nil {
					return err
				}
				delete(spec, "version")
				delete(spec, "sha256")
				spec["source"] = src
			} else if src, ok := spec["source"].(map[string]any); ok && f.sha256 == "" {
				if p, ok := src["path"].(string); ok {
					if f.sha256, err = sumOf(p); err != nil {
						return fmt.Errorf("%w (give --sha256 where the binary is on another machine)", err)
					}
				} else {
					delete(spec, "sha256")
				}
			}
			if err := f.complete(spec); err != nil {
				return err
			}
			if jsonText(spec) == before { // what a tag or a directory has now
				spec["restartedAt"] = time.Now().UTC().Format(time.RFC3339)
			}
			if v, err = f.apply(cmd.Context(), v.Name, spec); err != nil {
				return err
			}
			return f.report(cmd, v, "upgraded")
		},
	}
	f.register(cmd)
	return cmd
}

func jsonText(v any) string {
	b, _ := json.Marshal(v) // a tree that came as JSON
	return string(b)
}

func newPluginRollback() *cobra.Command {
	var f installFlags
	var to int64
	cmd := &cobra.Command{
		Use: "rollback NAME", Short: "Run again what a plugin was before", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := f.wish(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			r, err := v.before(to)
			if err != nil {
				return err
			}
			spec := r.Spec
			if src, ok := spec["source"].(map[string]any); ok && r.Digest != "" {
				if ref, ok := src["oci"].(string); ok {
					src["oci"] = host.AtDigest(ref, r.Digest)
				}
			}
			if r.SHA256 != "" && spec["source"] != nil {
				spec["sha256"] = r.SHA256
			}
			if v, err = f.apply(cmd.Context(), v.Name, spec); err != nil {
				return err
			}
			return f.report(cmd, v, fmt.Sprintf("rolled back to revision %d", r.Number))
		},
	}
	f.pluginCluster.register(cmd)
	cmd.Flags().Int64Var(&to, "to", 0, "revision to go back to, see `pintle plugin info` (default: the one that ran before)")
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait until it runs; 0 does not wait")
	return cmd
}

// before finds the revision to go back to.
func (v *pluginView) before(number int64) (pluginRevision, error) {
	for i := len(v.History) - 1; i >= 0; i-- {
		r := v.History[i]
		if number != 0 && r.Number != number || number == 0 && r.State != string(host.RevisionReplaced) {
			continue
		}
		if r.Spec == nil {
			return r, fmt.Errorf("plugin %s: revision %d is the configuration's: go back there", v.Name, r.Number)
		}
		return r, nil
	}
	if number != 0 {
		return pluginRevision{}, fmt.Errorf("plugin %s has no revision %d in its history (`pintle plugin info %s`)", v.Name, number, v.Name)
	}
	return pluginRevision{}, fmt.Errorf("plugin %s: nothing else ran before what runs now", v.Name)
}

func newPluginGrant() *cobra.Command {
	var c pluginCluster
	var all bool
	cmd := &cobra.Command{
		Use: "grant NAME", Short: "Grant a plugin the permissions that it asks for and has not", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := c.wish(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if all {
				_, err = c.patch(cmd.Context(), v.Name, map[string]any{"spec": map[string]any{"permissions": map[string]any{"grant": host.GrantRequested, "rules": nil, "uses": nil}}})
			} else {
				if len(v.Pending)+len(v.PendingUses) == 0 {
					cmd.Printf("plugin %s has all permissions that it asks for\n", v.Name)
					return nil
				}
				rules := append(append([]rbacv1.PolicyRule{}, v.Granted...), v.Pending...)
				uses := append(append([]string{}, v.Uses...), v.PendingUses...)
				_, err = c.patch(cmd.Context(), v.Name, map[string]any{"spec": map[string]any{"permissions": map[string]any{"grant": host.GrantListed, "rules": rules, "uses": uses}}})
			}
			if err != nil {
				return err
			}
			cmd.Printf("plugin %s was granted: %s\n", v.Name, v.pendingText())
			return nil
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also what later versions ask for")
	return cmd
}

// pendingText says what a plugin asks for and has not been granted.
func (v *pluginView) pendingText() string {
	var out []string
	if len(v.Pending) > 0 {
		out = append(out, host.RulesText(v.Pending))
	}
	if len(v.PendingUses) > 0 {
		out = append(out, "to call the points "+strings.Join(v.PendingUses, ", ")+" of other plugins")
	}
	return strings.Join(out, "; ")
}

func newPluginRemove() *cobra.Command {
	var c pluginCluster
	var purge, orphan, force bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Remove a plugin, and the types that it brings", Args: cobra.ExactArgs(1),
		Long: "A plugin whose types have objects is not removed, unless --purge deletes them, or --orphan leaves them in the store for a plugin that brings the types back. " +
			"One that others require is not removed, unless --force leaves those without it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := c.wish(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			words := map[string]any{}
			switch {
			case purge:
				words[host.RemovalAnnotation] = host.RemovalPurge
			case orphan:
				words[host.RemovalAnnotation] = host.RemovalOrphan
			}
			if force {
				words[host.DependentsAnnotation] = host.DependentsIgnore
			}
			if len(words) > 0 {
				if _, err := c.patch(cmd.Context(), v.Name, map[string]any{"metadata": map[string]any{"annotations": words}}); err != nil {
					return err
				}
			}
			return c.remove(cmd, v, timeout)
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&purge, "purge", false, "delete the objects of its types first")
	cmd.Flags().BoolVar(&orphan, "orphan", false, "leave the objects of its types in the store, where nobody sees them")
	cmd.Flags().BoolVar(&force, "force", false, "leave plugins that require it without it")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait until it is gone")
	cmd.MarkFlagsMutuallyExclusive("purge", "orphan")
	return cmd
}

func (c *pluginCluster) remove(cmd *cobra.Command, v pluginView, timeout time.Duration) error {
	client, err := c.plugins()
	if err != nil {
		return err
	}
	if err := client.Delete(cmd.Context(), v.Name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("plugin %s: %w", v.Name, err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(pluginPoll)
	defer tick.Stop()
	for {
		o, err := client.Get(ctx, v.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && o.GetUID() != v.Metadata.UID {
			cmd.Printf("plugin %s is removed\n", v.Name)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			why := errors.New("its objects are being dealt with")
			if err == nil && len(o.GetFinalizers()) > 0 {
				why = fmt.Errorf("finalizers %s", strings.Join(o.GetFinalizers(), ", "))
			}
			return fmt.Errorf("plugin %s is still being removed: %w", v.Name, why)
		}
	}
}
