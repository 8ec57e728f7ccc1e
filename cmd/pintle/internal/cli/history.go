package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
)

const historyHelp = `Show what became of an object, or of all objects of a type in a namespace, as far back as the
store keeps its history (store.historyWindow in the configuration).

BY and TIME come from the objects' managedFields: they are the field managers whose fields
changed, and when. Changes that managedFields do not tell of have neither. Of a removal they are
the user who asked for it, and when. The audit log knows more.`

type historyCommand struct {
	client clientFlags
	diff   bool
	output string
	limit  int
}

func newHistory() *cobra.Command {
	h := &historyCommand{}
	cmd := &cobra.Command{
		Use: "history KIND [NAME]", Short: "Show the revisions of an object: who changed what, and when",
		Long: historyHelp, Args: cobra.RangeArgs(1, 2),
		Example: `  pintle history deployment web
  pintle history configmap/settings -n prod --diff
  pintle history secrets --limit 1000`,
		RunE: func(cmd *cobra.Command, args []string) error { return h.run(cmd.Context(), args, cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	h.client.register(f)
	f.BoolVar(&h.diff, "diff", false, "show each change as a difference of YAML")
	f.StringVarP(&h.output, "output", "o", "", "json or yaml: all that is known, with the objects")
	f.IntVar(&h.limit, "limit", corev1.DefaultHistoryLimit, fmt.Sprintf("how many of the newest changes, at most %d", corev1.MaxHistoryLimit))
	return cmd
}

func (h *historyCommand) run(ctx context.Context, args []string, out io.Writer) error {
	if h.output != "" && h.output != "json" && h.output != "yaml" {
		return fmt.Errorf(`--output=%s: want "json" or "yaml"`, h.output)
	}
	factory, err := h.client.factory()
	if err != nil {
		return err
	}
	t, err := parseObjectRef(factory, args, true)
	if err != nil {
		return err
	}
	data, err := fetchHistory(ctx, factory, t, h.limit, h.diff || h.output != "")
	if err != nil {
		return err
	}
	switch h.output {
	case "json":
		var b bytes.Buffer
		if err := json.Indent(&b, data, "", "    "); err != nil {
			return fmt.Errorf("the server's answer: %w", err)
		}
		_, err := fmt.Fprintln(out, b.String())
		return err
	case "yaml":
		text, err := yaml.JSONToYAML(data)
		if err != nil {
			return fmt.Errorf("the server's answer: %w", err)
		}
		_, err = out.Write(text)
		return err
	}
	var history corev1.History
	if err := json.Unmarshal(data, &history); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if h.diff {
		return printDiffs(out, t, &history)
	}
	return printHistory(out, t, &history)
}

// fetchHistory asks for what became of an object or a collection.
func fetchHistory(ctx context.Context, factory cmdutil.Factory, t *objectRef, limit int, objects bool) ([]byte, error) {
	client, err := restClient(factory)
	if err != nil {
		return nil, err
	}
	data, err := answer(client.Get().AbsPath(corev1.HistoryPath+t.path()).
		Param("limit", strconv.Itoa(limit)).Param("objects", strconv.FormatBool(objects)).Do(ctx))
	if unknownPath(err) {
		return nil, errors.New("the server keeps no history: a Pintle server is needed")
	}
	return data, err
}

func printHistory(out io.Writer, t *objectRef, h *corev1.History) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	name := ""
	if t.name == "" {
		name = "NAME\t"
	}
	fmt.Fprintf(w, "REVISION\tTIME\t%sCHANGE\tBY\tFIELDS\n", name)
	for i := range h.Items {
		r := &h.Items[i]
		if name != "" {
			name = r.Name + "\t"
		}
		fmt.Fprintf(w, "%s\t%s\t%s%s\t%s\t%s\n", r.ResourceVersion, when(r), name, r.Type, by(r), shownFields(r.Changed))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case h.More:
		_, err := fmt.Fprintln(out, "(there are older changes; see --limit)")
		return err
	case len(h.Items) == 0:
		_, err := fmt.Fprintf(out, "No changes of %s since revision %s.\n", t, h.Horizon)
		return err
	}
	return nil
}

func when(r *corev1.Revision) string {
	if r.Time == nil {
		return "-"
	}
	return r.Time.Local().Format(time.DateTime)
}

func by(r *corev1.Revision) string {
	if r.User != "" {
		return r.User
	}
	if len(r.Managers) == 0 {
		return "-"
	}
	who := strings.Join(r.Managers, ",")
	if r.Subresource != "" {
		who += " (" + r.Subresource + ")"
	}
	return who
}

// maxFields is how many changed fields a line of the table shows.
const maxFields = 5

func shownFields(changed []string) string {
	if len(changed) > maxFields {
		return fmt.Sprintf("%s and %d more", strings.Join(changed[:maxFields], " "), len(changed)-maxFields)
	}
	if len(changed) == 0 {
		return "-"
	}
	return strings.Join(changed, " ")
}

// printDiffs prints each change as a unified difference from the state before.
func printDiffs(out io.Writer, t *objectRef, h *corev1.History) error {
	type state struct{ revision, text string }
	last := map[string]state{}
	if len(h.Items) > 0 && h.More {
		fmt.Fprintln(out, "# There are older changes; see --limit.")
	}
	for i := range h.Items {
		r := &h.Items[i]
		key := r.Namespace + "/" + r.Name
		text, err := plainYAML(r.Object)
		if err != nil {
			return fmt.Errorf("revision %s: %w", r.ResourceVersion, err)
		}
		before, known := last[key]
		if !known {
			before.revision = "0"
		}
		last[key] = state{r.ResourceVersion, text}
		if !known && (r.Type == corev1.Existing || r.Type == corev1.Modified) {
			continue // What was before is behind the horizon or the limit.
		}
		after := text
		if r.Type == corev1.Removed {
			if !known {
				before.text = text
			}
			after = ""
			last[key] = state{r.ResourceVersion, ""}
		}
		fmt.Fprintf(out, "# %s %s at revision %s, %s, by %s\n", r.Type, revisionName(t, r), r.ResourceVersion, when(r), by(r))
		err = difflib.WriteUnifiedDiff(out, difflib.UnifiedDiff{
			A: diffLines(before.text), B: diffLines(after), Context: 3,
			FromFile: "revision " + before.revision, ToFile: "revision " + r.ResourceVersion,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func revisionName(t *objectRef, r *corev1.Revision) string {
	return t.mapping.Resource.GroupResource().String() + "/" + r.Name
}

func diffLines(text string) []string {
	if text == "" {
		return nil
	}
	return difflib.SplitLines(strings.TrimSuffix(text, "\n"))
}

// plainYAML is an object without what changes with every write anyway.
func plainYAML(object []byte) (string, error) {
	var o map[string]any
	if err := json.Unmarshal(object, &o); err != nil {
		return "", err
	}
	if meta, ok := o["metadata"].(map[string]any); ok {
		delete(meta, "managedFields")
		delete(meta, "resourceVersion")
	}
	text, err := yaml.Marshal(o)
	return string(text), err
}
