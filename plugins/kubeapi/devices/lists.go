package devices

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
)

// each checks the items of a list, which may have at most so many; less than zero is any
// number. A list that is too long is not looked into.
func each[T any](list []T, most int, path *field.Path, valid func(*T, *field.Path) field.ErrorList) field.ErrorList {
	if most >= 0 && len(list) > most {
		return field.ErrorList{field.TooMany(path, len(list), most)}
	}
	var errs field.ErrorList
	for i := range list {
		errs = append(errs, valid(&list[i], path.Index(i))...)
	}
	return errs
}

// set is each for lists whose items have a key that occurs once.
func set[T any, K comparable](list []T, most int, path *field.Path, key func(*T) K, valid func(*T, *field.Path) field.ErrorList) field.ErrorList {
	if most >= 0 && len(list) > most {
		return field.ErrorList{field.TooMany(path, len(list), most)}
	}
	errs := each(list, -1, path, valid)
	seen := map[K]bool{}
	for i := range list {
		k := key(&list[i])
		if seen[k] {
			errs = append(errs, field.Duplicate(path.Index(i), k))
		}
		seen[k] = true
	}
	return errs
}

func itself(s *string) string { return *s }

func label(name string, path *field.Path) field.ErrorList {
	return check.Invalid(path, name, check.DNSLabel(name))
}

func required(name string, path *field.Path, valid func(string, *field.Path) field.ErrorList) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return valid(name, path)
}

func subdomain(name string, path *field.Path) field.ErrorList {
	return check.Invalid(path, name, check.DNSSubdomain(name))
}

func poolName(name string, path *field.Path) field.ErrorList {
	return required(name, path, func(name string, path *field.Path) field.ErrorList {
		var errs field.ErrorList
		if len(name) > resourcev1.PoolNameMaxLength {
			errs = append(errs, field.TooLong(path, "", resourcev1.PoolNameMaxLength))
		}
		for part := range strings.SplitSeq(name, "/") {
			errs = append(errs, subdomain(part, path)...)
		}
		return errs
	})
}

// qualified checks the name of an attribute or a capacity, with or without a domain.
func qualified(name string, path *field.Path) field.ErrorList {
	domain, id, has := strings.Cut(name, "/")
	if !has {
		return identifier(name, path)
	}
	if strings.Contains(id, "/") {
		return nil // upstream takes them
	}
	var errs field.ErrorList
	if domain == "" {
		errs = append(errs, field.Invalid(path, "", "the domain must not be empty"))
	} else {
		errs = append(errs, check.DriverName(domain, path)...)
	}
	if id == "" {
		return append(errs, field.Invalid(path, "", "the name must not be empty"))
	}
	return append(errs, identifier(id, path)...)
}

func fullyQualified(name string, path *field.Path) field.ErrorList {
	errs := qualified(name, path)
	if !strings.Contains(name, "/") {
		errs = append(errs, field.Invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash"))
	}
	return errs
}

func identifier(id string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(id) > resourcev1.DeviceMaxIDLength {
		errs = append(errs, field.TooLong(path, "", resourcev1.DeviceMaxIDLength))
	}
	return append(errs, check.Invalid(path, id, content.IsCIdentifier(id))...)
}

func labelValue(value string, path *field.Path) field.ErrorList {
	return check.Invalid(path, value, validation.IsValidLabelValue(value))
}
