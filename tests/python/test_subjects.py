"""Which models a function names, and that looking for them runs nobody's code."""

from __future__ import annotations

import gc
import weakref
from unittest import mock

import pytest
import torch

from torchnotary.capture.subjects import NamedModels


class Unbound:
    """A proxy like werkzeug's outside of a request: whatever is asked of it raises."""

    def __getattribute__(self, name):
        raise RuntimeError(f"working outside of a request: {name}")


proxy = Unbound()
everything = mock.call
pipe = None
net = torch.nn.Linear(2, 2)
tools = [torch.nn.Linear(2, 2), "x"]


def uses_proxies(x):
    return (proxy, everything, net(x))


def uses_pipe(x):
    return pipe(x)


def helper(x):
    return net(x)


def uses_helper(x):
    return helper(x)


def uses_tools(x):
    return tools[0](x)


class Pipe:
    def __init__(self, model):
        self.model = model

    def __call__(self, x):
        return self.model(x)


def test_foreign_proxies_among_the_names_are_not_touched():
    assert NamedModels(uses_proxies).find() == {"net": net}
    assert NamedModels(lambda x: x).find(arguments={"x": proxy, "y": everything}) == {}


def test_functions_a_function_names_are_followed():
    assert NamedModels(uses_helper).find() == {"net": net}


def test_what_a_name_means_is_looked_up_at_every_call(monkeypatch):
    models = NamedModels(uses_pipe)
    assert models.find() == {}
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    monkeypatch.setitem(globals(), "pipe", Pipe(first))
    assert models.find() == {"model": first}
    pipe.model = second
    assert models.find() == {"model": second}
    pipe.head = first
    assert models.find() == {"model": second, "head": first}
    monkeypatch.setitem(globals(), "pipe", second)
    assert models.find() == {"pipe": second}


def test_a_function_that_was_replaced_is_followed_anew(monkeypatch):
    models = NamedModels(uses_helper)
    models.find()
    other = torch.nn.Linear(2, 2)
    monkeypatch.setitem(globals(), "helper", lambda x: other(x))
    assert models.find() == {"other": other}


def test_members_of_a_list_are_looked_up_at_every_call():
    models = NamedModels(uses_tools)
    assert models.find() == {"tools_0": tools[0]}
    tools.append(torch.nn.Linear(2, 2))
    assert models.find() == {"tools_0": tools[0], "tools_2": tools[2]}
    del tools[2]


@pytest.mark.parametrize("bound", [False, True])
def test_a_model_that_is_let_go_dies(bound):
    holder = {}
    exec("def f(x):\n    return model(x)", holder)
    model = torch.nn.Linear(2, 2)
    holder["model"] = model.forward if bound else model
    models = NamedModels(holder["f"])
    assert len(models.find()) == 1
    reference = weakref.ref(model)
    del model, holder["model"]
    gc.collect()
    assert reference() is None
    assert models.find() == {}


class LocalProxy:
    """Like werkzeug's: even its ``__dict__`` is looked up in a request, of which there is none."""

    @property
    def __dict__(self):
        raise RuntimeError("working outside of a request")


local = LocalProxy()


def uses_a_local_proxy(x):
    return local, net(x)


def test_a_proxy_whose_dictionary_raises_costs_no_record():
    assert NamedModels(uses_a_local_proxy).find() == {"net": net}
    assert NamedModels(lambda x: x).find(owner=local, arguments={"x": local}) == {}
