module apiserver-for-tests

go 1.26

require k8s.io/apiextensions-apiserver v0.36.6
