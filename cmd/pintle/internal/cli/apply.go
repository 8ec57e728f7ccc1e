package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/rest"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubectl/pkg/scheme"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
)

// newApply is kubectl's apply and, with --atomic, one that does all or nothing.
func newApply() *cobra.Command {
	return &cobra.Command{
		Use: "apply [--atomic] -f FILENAME", Short: "kubectl's apply; with --atomic all objects of the files or none",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			rest, atomic, err := takeFlag(args, "atomic")
			if err != nil {
				return err
			}
			if !atomic && !slices.Contains(args, "--help") && !slices.Contains(args, "-h") {
				return runKubectl(cmd.Context(), append([]string{"apply"}, rest...))
			}
			apply := newAtomicApply()
			apply.SetArgs(append([]string{}, rest...)) // nil would be the process's
			return apply.ExecuteContext(cmd.Context())
		},
	}
}

// takeFlag takes a boolean flag out of arguments.
func takeFlag(args []string, name string) (rest []string, set bool, err error) {
	for i, a := range args {
		value, valued := strings.CutPrefix(a, "--"+name+"=")
		switch {
		case a == "--":
			return append(rest, args[i:]...), set, nil
		case a == "--"+name:
			set = true
		case valued:
			if set, err = strconv.ParseBool(value); err != nil {
				return nil, false, fmt.Errorf("--%s: %q is neither true nor false", name, value)
			}
		default:
			rest = append(rest, a)
		}
	}
	return rest, set, nil
}

// atomicApply applies the objects of files by one transaction.
type atomicApply struct {
	client   clientFlags
	files    genericclioptions.FileNameFlags
	print    *genericclioptions.PrintFlags
	dryRun   string
	validate string
	manager  string
	selector string
	force    bool

	out, errOut io.Writer
}

const atomicApplyHelp = `Apply all objects of the files, directories or standard input, or none of them.

The objects are applied server-side, by one transaction: each is authorized, admitted and
validated as if it came alone, and if one is refused, nothing is done. Nobody ever sees a part.

A type that the files themselves define can't be used in the same transaction, and permissions
that they grant do not count in it.`

func newAtomicApply() *cobra.Command {
	a := &atomicApply{out: os.Stdout, errOut: os.Stderr, print: genericclioptions.NewPrintFlags("").WithTypeSetter(scheme.Scheme)}
	var filenames []string
	var kustomize string
	var recursive, atomic, serverSide bool
	cmd := &cobra.Command{
		Use: "pintle apply --atomic (-f FILENAME | -k DIRECTORY)", Short: "Apply all objects of the files or none",
		Long: atomicApplyHelp, SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		Example: `  # Apply a directory and what is below it
  pintle apply --atomic -f dir/ -R

  # Ask the server what would become of it
  pintle apply --atomic -f dir/ --dry-run=server`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(filenames) == 0 && kustomize == "" {
				return errors.New("must specify one of -f and -k")
			}
			return a.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	a.files = genericclioptions.FileNameFlags{Usage: "with the objects to apply", Filenames: &filenames, Kustomize: &kustomize, Recursive: &recursive}
	a.files.AddFlags(f)
	a.client.register(f)
	a.print.AddFlags(cmd)
	f.BoolVar(&atomic, "atomic", true, "all objects or none; without it, this is kubectl's apply")
	f.BoolVar(&serverSide, "server-side", true, "always so with --atomic")
	f.StringVar(&a.dryRun, "dry-run", "none", `"none" or "server": all is done but for the write`)
	f.Lookup("dry-run").NoOptDefVal = "unchanged"
	f.StringVar(&a.validate, "validate", "strict", `"strict", "warn" or "ignore" fields that are unknown or occur twice`)
	f.Lookup("validate").NoOptDefVal = "strict"
	f.StringVar(&a.manager, "field-manager", "kubectl", "who the applied fields belong to")
	f.BoolVar(&a.force, "force-conflicts", false, "take fields that belong to other managers")
	f.StringVarP(&a.selector, "selector", "l", "", "only objects with these labels")
	return cmd
}

func (a *atomicApply) run(ctx context.Context) error {
	dry, err := a.checkFlags()
	if err != nil {
		return err
	}
	factory, err := a.client.factory()
	if err != nil {
		return err
	}
	infos, err := a.read(factory)
	if err != nil {
		return err
	}
	order := make([]int, len(infos))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return rank(infos[x]) - rank(infos[y]) })
	t := corev1.Transaction{TypeMeta: metav1.TypeMeta{APIVersion: corev1.APIVersion, Kind: corev1.TransactionKind}}
	for _, i := range order {
		op, err := a.operation(infos[i])
		if err != nil {
			return inFile(infos[i], err)
		}
		t.Operations = append(t.Operations, op)
	}
	body, err := json.Marshal(&t)
	if err != nil {
		return fmt.Errorf("encode the transaction: %w", err)
	}
	if !dry {
		if err := a.adopt(ctx, factory, infos); err != nil {
			return err
		}
	}
	done, err := a.send(ctx, factory, body, dry)
	if err != nil {
		return a.explain(err, infos, order)
	}
	if len(done.Results) != len(infos) {
		return fmt.Errorf("the server answered %d results for %d objects", len(done.Results), len(infos))
	}
	results := make([]corev1.Result, len(infos))
	for at, i := range order {
		results[i] = done.Results[at]
	}
	return a.show(infos, results, dry)
}

// checkFlags reads what kubectl takes in several spellings.
func (a *atomicApply) checkFlags() (dry bool, err error) {
	switch a.dryRun {
	case "none":
	case "server":
		dry = true
	default:
		return false, fmt.Errorf(`--dry-run=%s: want "none" or "server"; an atomic apply is decided by the server`, a.dryRun)
	}
	switch strings.ToLower(a.validate) {
	case "strict", "true":
		a.validate = metav1.FieldValidationStrict
	case "warn":
		a.validate = metav1.FieldValidationWarn
	case "ignore", "false":
		a.validate = metav1.FieldValidationIgnore
	default:
		return false, fmt.Errorf(`--validate=%s: want "strict", "warn" or "ignore"`, a.validate)
	}
	return dry, nil
}

// read finds the objects in the files.
func (a *atomicApply) read(factory cmdutil.Factory) ([]*resource.Info, error) {
	namespace, enforce, err := factory.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	options := a.files.ToOptions()
	infos, err := factory.NewBuilder().Unstructured().ContinueOnError().NamespaceParam(namespace).DefaultNamespace().
		FilenameParam(enforce, &options).LabelSelectorParam(a.selector).Flatten().Do().Infos()
	if err != nil {
		return nil, err
	}
	if len(infos) == 0 {
		return nil, errors.New("no objects passed to apply")
	}
	if len(infos) > corev1.MaxOperations {
		return nil, fmt.Errorf("%d objects are too many for one transaction, which has at most %d", len(infos), corev1.MaxOperations)
	}
	seen := map[string]*resource.Info{}
	for _, info := range infos {
		if info.Name == "" {
			return nil, inFile(info, errors.New("the object has no name; generateName can't be applied"))
		}
		key := info.ResourceMapping().Resource.GroupResource().String() + "/" + info.Namespace + "/" + info.Name
		if before, twice := seen[key]; twice {
			return nil, inFile(info, fmt.Errorf("the same object is in %s", before.Source))
		}
		seen[key] = info
	}
	return infos, nil
}

// rank puts first what others need to be there.
func rank(info *resource.Info) int {
	first := []string{"Namespace", "PriorityClass", "RuntimeClass", "StorageClass", "IngressClass", "LimitRange", "ServiceAccount"}
	if i := slices.Index(first, info.ResourceMapping().GroupVersionKind.Kind); i >= 0 {
		return i
	}
	return len(first)
}

func (a *atomicApply) operation(info *resource.Info) (corev1.Operation, error) {
	object, ok := info.Object.(*unstructured.Unstructured)
	if !ok {
		return corev1.Operation{}, fmt.Errorf("is a %T", info.Object)
	}
	if len(object.GetManagedFields()) > 0 {
		return corev1.Operation{}, errors.New("metadata.managedFields must be nil")
	}
	data, err := object.MarshalJSON()
	if err != nil {
		return corev1.Operation{}, fmt.Errorf("encode: %w", err)
	}
	gvk := info.ResourceMapping().GroupVersionKind
	return corev1.Operation{
		Verb: corev1.Patch, PatchType: types.ApplyYAMLPatchType, Object: data, Namespace: info.Namespace, Name: info.Name,
		APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Options: &corev1.Options{Force: a.force},
	}, nil
}

func (a *atomicApply) send(ctx context.Context, factory cmdutil.Factory, body []byte, dry bool) (*corev1.TransactionStatus, error) {
	client, err := restClient(factory)
	if err != nil {
		return nil, err
	}
	r := client.Post().AbsPath("/apis", corev1.Group, corev1.Version, corev1.Transactions.Resource).
		SetHeader("Content-Type", "application/json").Param("fieldManager", a.manager).Param("fieldValidation", a.validate)
	if dry {
		r = r.Param("dryRun", metav1.DryRunAll)
	}
	data, err := answer(r.Body(body).Do(ctx))
	if unknownPath(err) {
		return nil, errors.New("the server knows no transactions: --atomic needs a Pintle server")
	}
	if err != nil {
		return nil, err
	}
	var t corev1.Transaction
	if err := json.Unmarshal(data, &t); err != nil || t.Status == nil {
		return nil, fmt.Errorf("the server's answer is no transaction: %w", err)
	}
	return t.Status, nil
}

// answer is a result's body, or what the server says is wrong.
func answer(r rest.Result) ([]byte, error) {
	if err := r.Error(); err != nil {
		return nil, err
	}
	return r.Raw()
}

// unknownPath tells a server that does not know a path from one that misses an object.
func unknownPath(err error) bool {
	var st apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &st) {
		return false
	}
	d := st.Status().Details
	return d == nil || d.Kind == ""
}

var operationField = regexp.MustCompile(`^operations\[(\d+)\](?:\.object\.)?(.*)$`)

// explain says of each object that was refused where it is and why.
func (a *atomicApply) explain(err error, infos []*resource.Info, order []int) error {
	var st apierrors.APIStatus
	if !errors.As(err, &st) || st.Status().Details == nil {
		return err
	}
	said := map[string]bool{}
	errs := []error{errors.New("nothing was applied")}
	for _, c := range st.Status().Details.Causes {
		m := operationField.FindStringSubmatch(c.Field)
		if m == nil {
			continue
		}
		// The causes of an error are in its message, too.
		at, numErr := strconv.Atoi(m[1])
		if numErr != nil || at >= len(order) || said[m[1]] {
			continue
		}
		said[m[1]] = true
		errs = append(errs, inFile(infos[order[at]], errors.New(c.Message)))
	}
	if len(errs) == 1 {
		return err
	}
	return errors.Join(errs...)
}

// inFile names the object and where it comes from.
func inFile(info *resource.Info, err error) error {
	what := "object"
	if info.Mapping != nil {
		what = strings.ToLower(info.Mapping.GroupVersionKind.Kind)
	}
	if info.Name != "" {
		what += fmt.Sprintf(" %q", info.Name)
	}
	if info.Namespace != "" {
		what += fmt.Sprintf(" in namespace %q", info.Namespace)
	}
	return fmt.Errorf("%s: %s: %w", info.Source, what, err)
}

// show prints what became of the objects.
func (a *atomicApply) show(infos []*resource.Info, results []corev1.Result, dry bool) error {
	word := map[string]string{corev1.Created: "created", corev1.Updated: "configured", corev1.Unchanged: "unchanged"}
	for i, info := range infos {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(results[i].Object); err != nil {
			return inFile(info, fmt.Errorf("the server's answer: %w", err))
		}
		operation := word[results[i].Outcome]
		if dry {
			operation += " (server dry run)"
		}
		a.print.NamePrintFlags.Operation = operation
		printer, err := a.print.ToPrinter()
		if err != nil {
			return err
		}
		if named, ok := printer.(*printers.NamePrinter); ok {
			named.Operation = operation
		}
		if err := printer.PrintObj(object, a.out); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

// restClient talks to the server at paths.
func restClient(factory cmdutil.Factory) (rest.Interface, error) {
	set, err := factory.KubernetesClientSet()
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return set.Discovery().RESTClient(), nil
}
