"""Spec + HostFacts -> Program: pure values, printable before anything happens."""
