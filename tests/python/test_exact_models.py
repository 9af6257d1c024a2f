"""Whole models under exact/1 give a sequence the same bits however it is computed: alone or in a
batch, padded on either side, at once or token by token, with any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models import ResNet18, token_ids
from torchnotary.exact import exact_scope

LENGTH = 23
PADDINGS = (1, 17, 260)  # not multiples of the lanes of sums; beyond a block of products
THREADS = (2, 3, 7)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def exactly(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with torch.inference_mode(), exact_scope():
        return call(*arguments, **named)


def assert_same_bits(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    whole = torch.int32 if actual.dtype == torch.float32 else torch.int16
    different = actual.contiguous().view(whole) != expected.contiguous().view(whole)
    count = int(different.sum())
    assert count == 0, f"{count} of {different.numel()} elements have other bits"


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def tiny_llama() -> nn.Module:
    """Two layers of a Llama: rotary positions, grouped queries, a gated SiLU, RMS norms."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=101,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,  # attention that is far from uniform
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def tiny_t5(kind: str) -> nn.Module:
    """Two layers of a T5, each side: buckets of relative positions, gated GELUs, RMS norms."""
    import transformers

    config = transformers.T5Config(
        vocab_size=101,
        d_model=48,
        d_kv=12,
        d_ff=80,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        initializer_factor=3.0,  # attention that is far from uniform
        pad_token_id=0,
        eos_token_id=None,
        decoder_start_token_id=0,
        attn_implementation="sdpa",
    )
    return getattr(transformers, kind)(config)


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def t5_encoder(request) -> nn.Module:
    return seeded(lambda: tiny_t5("T5EncoderModel")).to(request.param)


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def t5(request) -> nn.Module:
    return seeded(lambda: tiny_t5("T5ForConditionalGeneration")).to(request.param)


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def llama(request) -> nn.Module:
    return seeded(tiny_llama).to(request.param)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return seeded(ResNet18)


class Tagger(nn.Module):
    """Tokens (batch, length), of the given lengths, to 16 features each."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(101, 16)
        self.net = kind(16, 8, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, tokens: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        packed = pack_padded_sequence(
            self.embedding(tokens), torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        return pad_packed_sequence(self.net(packed)[0], batch_first=True)[0]


def sequences(count: int, length: int = LENGTH) -> torch.Tensor:
    return token_ids(20_000, count, length) % 97 + 3


def logits_of(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    return exactly(model, input_ids=tokens, use_cache=False).logits


def padded(tokens: torch.Tensor, left: int, right: int) -> dict[str, torch.Tensor]:
    """The arguments of a causal model for tokens (batch, length) with padding round them."""
    mask = F.pad(torch.ones_like(tokens), (left, right))
    positions = F.pad(torch.arange(tokens.shape[1]), (left, right)).expand_as(mask)
    return {
        "input_ids": F.pad(tokens, (left, right)),
        "attention_mask": mask,
        "position_ids": positions,
    }


def test_decoding_token_by_token_gives_the_bits_of_one_prefill(llama):
    tokens = sequences(2)
    expected = logits_of(llama, tokens)

    cache = None
    for i in range(LENGTH):
        step = exactly(llama, tokens[:, i : i + 1], past_key_values=cache, use_cache=True)
        assert_same_bits(step.logits[:, 0], expected[:, i])
        cache = step.past_key_values


@pytest.mark.parametrize("cut", [1, 8, 16, LENGTH - 1])
def test_a_prefill_in_two_pieces_gives_the_bits_of_one(llama, cut):
    tokens = sequences(1)
    first = exactly(llama, tokens[:, :cut], use_cache=True)
    second = exactly(llama, tokens[:, cut:], past_key_values=first.past_key_values)
    assert_same_bits(torch.cat([first.logits, second.logits], 1), logits_of(llama, tokens))


def test_the_tokens_a_model_generates_are_checked_by_one_prefill(llama):
    prompt = sequences(1, 7)
    generated = exactly(
        llama.generate,
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=16,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    replayed = logits_of(llama, generated.sequences)[0, 6:-1]
    assert_same_bits(torch.cat(generated.logits).to(replayed.dtype), replayed)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_bit_of_a_decoder(llama, padding, side):
    tokens = sequences(2)
    left, right = (padding, 0) if side == "left" else (0, padding)
    actual = exactly(llama, **padded(tokens, left, right), use_cache=False).logits
    assert_same_bits(actual[:, left : left + LENGTH], logits_of(llama, tokens))


def test_sequences_padded_to_one_batch_decode_on_as_each_does_alone(llama):
    short, long = sequences(1, 5), sequences(1, 19)
    batch = torch.cat([F.pad(short, (14, 0)), long])
    mask = (batch != 0).long()
    options = {"max_new_tokens": 6, "do_sample": False, "output_logits": True}
    together = exactly(
        llama.generate, batch, attention_mask=mask, return_dict_in_generate=True, **options
    )
    for row, prompt in enumerate((short, long)):
        alone = exactly(
            llama.generate,
            prompt,
            attention_mask=torch.ones_like(prompt),
            return_dict_in_generate=True,
            **options,
        )
        assert_same_bits(
            torch.stack([step[row] for step in together.logits]), torch.cat(alone.logits)
        )


@pytest.mark.parametrize("split", [(1, 1, 1, 1, 1), (2, 3), (4, 1)])
def test_a_batch_may_be_split_anywhere(llama, split):
    tokens = sequences(5)
    parts = [logits_of(llama, part) for part in tokens.split(split)]
    assert_same_bits(torch.cat(parts), logits_of(llama, tokens))


@pytest.mark.parametrize("count", THREADS)
def test_the_number_of_threads_changes_no_bit_of_a_decoder(llama, count):
    tokens = sequences(3, 130)
    with threads(1):
        expected = logits_of(llama, tokens)
    with threads(count):
        assert_same_bits(logits_of(llama, tokens), expected)


def test_logits_are_as_near_to_float64_as_torchs_own():
    llama, tokens = seeded(tiny_llama), sequences(4, 64)
    exact = logits_of(llama, tokens)
    with torch.inference_mode():
        native = llama(tokens, use_cache=False).logits
        true = llama.double()(tokens, use_cache=False).logits
    error = (exact - true).square().mean().sqrt()
    assert error < 1.5 * (native - true).square().mean().sqrt()


@pytest.fixture(scope="module")
def encode(minilm_folder) -> Callable[[list[str]], torch.Tensor]:
    """Sentences to embeddings by sentence_transformers, which sorts, pads, pools and normalises."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm_folder), device="cpu")

    def encode(texts: list[str], **options: Any) -> torch.Tensor:
        return exactly(model.encode, texts, convert_to_tensor=True, **options)

    return encode


SENTENCES = [
    "A record binds what a model computed.",
    "No.",
    "The same sentence, alone or in a batch, gives the same bits on every machine there is.",
    "Padding on either side is absent from attention. " * 8,
    "",
]


def test_minilm_embeds_a_sentence_alone_as_in_a_batch(encode):
    together = encode(SENTENCES)
    for text, embedding in zip(SENTENCES, together, strict=True):
        assert_same_bits(encode([text])[0], embedding)


@pytest.mark.parametrize("count", THREADS)
def test_minilm_gives_the_same_bits_with_any_number_of_threads(encode, count):
    with threads(1):
        expected = encode(SENTENCES, batch_size=2)
    with threads(count):
        assert_same_bits(encode(SENTENCES), expected)


@pytest.mark.parametrize("padding", PADDINGS[:2])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_bit_of_an_encoder(minilm, padding, side):
    tokens = token_ids(20_000, 2, LENGTH)
    left, right = (padding, 0) if side == "left" else (0, padding)
    expected = exactly(minilm, tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
    actual = exactly(minilm, **padded(tokens, left, right)).last_hidden_state
    assert_same_bits(actual[:, left : left + LENGTH], expected)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_bit_of_relative_positions(t5_encoder, padding, side):
    tokens = sequences(2)
    left, right = (padding, 0) if side == "left" else (0, padding)
    expected = exactly(t5_encoder, tokens).last_hidden_state
    arguments = padded(tokens, left, right)
    del arguments["position_ids"]
    actual = exactly(t5_encoder, **arguments).last_hidden_state
    assert_same_bits(actual[:, left : left + LENGTH], expected)


@pytest.mark.parametrize("count", THREADS)
def test_an_encoder_and_decoder_give_a_pair_the_same_bits_alone_as_in_a_padded_batch(t5, count):
    lengths, answers = [5, LENGTH, 14], sequences(3, 9)
    mask = (torch.arange(LENGTH) < torch.tensor(lengths)[:, None]).long()
    sources = sequences(3) * mask
    with threads(count):
        together = exactly(
            t5, input_ids=sources, attention_mask=mask, decoder_input_ids=answers
        ).logits
    for row, length in enumerate(lengths):
        alone = exactly(
            t5,
            input_ids=sources[row : row + 1, :length],
            decoder_input_ids=answers[row : row + 1],
        ).logits
        assert_same_bits(together[row], alone[0])


def test_the_tokens_an_encoder_and_decoder_generate_are_checked_by_one_call(t5):
    source = sequences(2)
    generated = exactly(
        t5.generate,
        source,
        max_new_tokens=12,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    at_once = exactly(t5, input_ids=source, decoder_input_ids=generated.sequences[:, :-1]).logits
    assert_same_bits(torch.stack(generated.logits, 1).to(at_once.dtype), at_once)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_images_give_the_same_bits_alone_in_a_batch_and_in_either_layout(resnet, layout):
    images = torch.linspace(-1, 1, 3 * 3 * 61 * 64).sin().reshape(3, 3, 61, 64)
    alone = torch.cat([exactly(resnet, image) for image in images.split(1)])
    assert_same_bits(exactly(resnet, images.to(memory_format=layout)), alone)
    with threads(1):
        assert_same_bits(exactly(resnet, images), alone)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_packed_sequences_give_each_sequence_what_it_gives_alone(kind):
    model, lengths = seeded(lambda: Tagger(kind)), [9, 14, 1, 14]
    tokens = sequences(4, 14)
    together = exactly(model, tokens, lengths)
    for row, length in enumerate(lengths):
        alone = exactly(model, tokens[row : row + 1, :length], [length])
        assert_same_bits(together[row, :length], alone[0])
        assert not together[row, length:].any()
